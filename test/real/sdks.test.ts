import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { faults, geminiFaults } from '../../src/simulator/index.js'
import { docFiles, root } from '../kit/readme-blocks.js'
import { client, packages } from './clients.js'
import { fourTurns, PROMPTS } from './conversation.js'
import { run, type Run } from './run.js'
import { scenario, type Stage, type StageOptions } from './stage.js'

const openAiKeys: StageOptions = { codexApiKeys: [{ id: 'kate' }, { id: 'liam' }, { id: 'mona' }] }
const geminiKeys: StageOptions = { geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }, { id: 'ines' }] }

const noQuota = faults.refusal({ word: 'insufficient_quota' })

interface Library {
  /** The block of docs/clients.md. */
  readonly block: string
  /** The conversation in test/real/sdk, and the part of the block that it is held with. */
  readonly script: string
  readonly by: string
}

const ofOpenAi: Library[] = [
  { block: 'openai.mjs', script: 'openai-responses.mjs', by: 'client' },
  { block: 'openai.mjs', script: 'openai-chat.mjs', by: 'client' },
  { block: 'ai-sdk-openai.mjs', script: 'ai-sdk.mjs', by: "openai('gpt-5.5')" },
  { block: 'agents.mjs', script: 'agents.mjs', by: 'config' },
]

const ofGoogle: Library[] = [
  { block: 'genai.mjs', script: 'genai.mjs', by: 'client' },
  { block: 'ai-sdk-google.mjs', script: 'ai-sdk.mjs', by: "google('gemini-2.5-flash')" },
]

const calls = { tool: { call: 'look', arguments: { at: 'the sky' } }, output: 'a cloud' }

for (const library of ofOpenAi)
  scenario(
    `four turns of ${library.script} with ${library.block}, on API keys`,
    openAiKeys,
    async (stage) => {
      const check = fourTurns(stage, { ...calls, limit: noQuota })
      check(linesOf(await hold(stage, library)))
    },
  )

for (const library of ofGoogle)
  scenario(
    `four turns of ${library.script} with ${library.block}, on API keys`,
    geminiKeys,
    async (stage) => {
      const check = fourTurns(stage, { ...calls, limit: geminiFaults.dailyQuota() })
      check(linesOf(await hold(stage, library)))
    },
  )

const linesOf = ({ stdout }: Run): string[] => stdout.trim().split('\n')

/** Runs the block of the page with a conversation behind it, as a program of its own. */
async function hold(stage: Stage, { block, script, by }: Library): Promise<Run> {
  const cwd = join(stage.folder, 'program')
  await mkdir(cwd)
  await symlink(packages(), join(cwd, 'node_modules'))
  await symlink(join(root, 'test/real/sdk'), join(cwd, 'sdk'))
  const settings = docFiles('docs/clients.md').get(block)?.replaceAll('http://127.0.0.1:8989', stage.url)
  const program = `import converse from './sdk/${script}'\n${settings}\nawait converse(${by})\n`
  await writeFile(join(cwd, 'program.mjs'), program)
  const env = { PATH: process.env.PATH ?? '', HOME: cwd, NODE_USE_ENV_PROXY: '1', ...stage.outside.env }
  // The scripts find the packages beside the link, not beside the checkout.
  const args = ['--preserve-symlinks', pathToFileURL(join(cwd, 'program.mjs')).pathname, ...PROMPTS]
  const ended = await run(client('node'), args, { cwd, env })
  stage.runs.push(ended)
  return ended
}
