import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { faults, geminiFaults } from '../../src/simulator/index.js'
import { docFiles, variablesIn } from '../kit/readme-blocks.js'
import { client } from './clients.js'
import { fourTurns, PROMPTS } from './conversation.js'
import { run } from './run.js'
import { scenario, type Stage, type StageOptions } from './stage.js'

const openAiKeys: StageOptions = { codexApiKeys: [{ id: 'kate' }, { id: 'liam' }, { id: 'mona' }] }
const geminiKeys: StageOptions = { geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }, { id: 'ines' }] }

const pools = {
  'OpenAI API keys': {
    pool: openAiKeys,
    limit: faults.refusal({ word: 'insufficient_quota' }),
    model: 'gpt-5.5',
  },
  'Gemini API keys': { pool: geminiKeys, limit: geminiFaults.dailyQuota(), model: 'gemini-2.5-flash' },
}

interface Agent {
  readonly name: string
  readonly pool: keyof typeof pools
  /** Blocks of docs/clients.md that are files in the home folder. */
  readonly files: readonly string[]
  /** A block that is typed into the shell. */
  readonly shell?: string
  /** How its model runs a command. */
  readonly tool: { call: string; arguments: object }
  readonly program: () => [string, ...string[]]
  readonly first: readonly string[]
  readonly later: readonly string[]
}

const opencode: Omit<Agent, 'pool' | 'name' | 'files'> = {
  tool: { call: 'bash', arguments: { command: 'echo "a cloud"', description: 'Looks at the sky' } },
  program: () => [client('opencode')],
  first: ['run'],
  later: ['run', '--continue'],
}

const qwen: Omit<Agent, 'pool' | 'name' | 'files'> = {
  tool: { call: 'run_shell_command', arguments: { command: 'echo "a cloud"', is_background: false } },
  // It needs a later Node than its first line may find.
  program: () => [client('node'), client('qwen')],
  first: ['--approval-mode', 'yolo', '-p'],
  later: ['--approval-mode', 'yolo', '--continue', '-p'],
}

const agents: Agent[] = [
  {
    ...opencode,
    name: 'opencode',
    pool: 'OpenAI API keys',
    files: ['~/.config/opencode/opencode.json'],
  },
  {
    ...opencode,
    name: 'opencode',
    pool: 'Gemini API keys',
    files: ['~/.config/opencode/opencode.json, Gemini'],
  },
  {
    ...qwen,
    name: 'qwen-code',
    pool: 'OpenAI API keys',
    files: ['~/.qwen/settings.json'],
    shell: 'qwen-code',
  },
  {
    ...qwen,
    name: 'qwen-code',
    pool: 'Gemini API keys',
    files: ['~/.qwen/settings.json, Gemini'],
    shell: 'qwen-code, Gemini',
  },
]

for (const agent of agents) {
  const { pool, limit, model } = pools[agent.pool]
  scenario(`four turns of ${agent.name} on ${agent.pool}`, pool, async (stage) => {
    const check = fourTurns(stage, { tool: agent.tool, output: 'a cloud', limit, model })
    const ask = await settle(stage, agent)
    const answers: string[] = []
    for (const prompt of PROMPTS) answers.push(await ask(prompt))
    check(answers)
  })
}

/** Sets the client up as the page says, in a home of its own. */
async function settle(stage: Stage, agent: Agent): Promise<(prompt: string) => Promise<string>> {
  const page = docFiles('docs/clients.md')
  const block = (name: string): string => {
    const text = page.get(name)
    assert.ok(text !== undefined, `docs/clients.md shows ${name}`)
    return text.replaceAll('http://127.0.0.1:8989', stage.url)
  }
  const cwd = join(stage.folder, 'work')
  await mkdir(cwd)
  for (const name of agent.files) {
    const file = name.replace('~', stage.folder).replace(/,.*/, '')
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, block(name))
  }
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: stage.folder,
    TERM: 'xterm-256color',
    ...stage.outside.env,
    ...variablesIn(agent.shell === undefined ? '' : block(agent.shell)),
  }
  let options = agent.first
  return async function ask(prompt) {
    const [program, ...args] = [...agent.program(), ...options, prompt]
    options = agent.later
    const ended = await run(program, args, { cwd, env })
    stage.runs.push(ended)
    assert.equal(ended.code, 0)
    return ended.stdout
  }
}
