import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { docFiles, variablesIn } from '../kit/readme-blocks.js'
import { type FourTurns, fourTurns, PROMPTS } from './conversation.js'
import { type Pool, pools } from './pools.js'
import { run } from './run.js'
import { scenario, type Stage } from './stage.js'

/** A coding agent that answers one prompt for each start. */
export interface Agent {
  readonly name: string
  readonly tool: FourTurns['tool']
  /** The model in its settings; it asks others for titles. */
  readonly model: string
  /** A block of docs/clients.md that is a file in the home folder. */
  readonly file: string
  /** A block that is typed into the shell. */
  readonly shell?: string
  readonly program: () => readonly [string, ...string[]]
  /** Arguments before the first prompt, and before the later ones. */
  readonly first: readonly string[]
  readonly later: readonly string[]
}

export function fourTurnsOf(agent: Agent, pool: Pool): void {
  const { options, limit } = pools[pool]
  scenario(`four turns of ${agent.name} on ${pool}`, options, async (stage) => {
    const { tool, model } = agent
    const check = fourTurns(stage, { tool, output: 'a cloud', limit: limit(), model })
    const ask = await settle(stage, agent)
    const answers: string[] = []
    for (const prompt of PROMPTS) answers.push(await ask(prompt))
    check(answers)
  })
}

/** Sets the agent up as the page says, in a home of its own. */
async function settle(stage: Stage, agent: Agent): Promise<(prompt: string) => Promise<string>> {
  const page = docFiles('docs/clients.md')
  const block = (name: string): string => {
    const text = page.get(name)
    assert.ok(text !== undefined, `docs/clients.md shows ${name}`)
    return text.replaceAll('http://127.0.0.1:8989', stage.url)
  }
  const cwd = join(stage.folder, 'work')
  await mkdir(cwd)
  const file = agent.file.replace('~', stage.folder).replace(/,.*/, '')
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, block(agent.file))
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: stage.folder,
    TERM: 'xterm-256color',
    ...stage.outside.env,
    ...(agent.shell !== undefined && variablesIn(block(agent.shell))),
  }
  let options = agent.first
  return async function ask(prompt) {
    const [program, ...args] = [...agent.program(), ...options, prompt] as const
    options = agent.later
    const ended = await run(program!, args, { cwd, env })
    stage.runs.push(ended)
    assert.equal(ended.code, 0)
    return ended.stdout
  }
}
