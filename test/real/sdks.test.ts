import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { docFiles, root } from '../kit/readme-blocks.js'
import { client, packages } from './clients.js'
import { type FourTurns, fourTurns, PROMPTS } from './conversation.js'
import { type Pool, pools } from './pools.js'
import { run, type Run } from './run.js'
import { scenario, type Stage } from './stage.js'

interface Library {
  /** The block of docs/clients.md. */
  readonly block: string
  /** The conversation in test/real/sdk, and the part of the block that it is held with. */
  readonly script: string
  readonly by: string
  readonly pools: readonly Pool[]
  /** @default a function tool */
  readonly tool?: FourTurns['tool']
  readonly warmsUp?: boolean
}

const openAi: Pool[] = ['ChatGPT accounts', 'OpenAI API keys']
const google: Pool[] = ['Gemini API keys']

const libraries: Library[] = [
  { block: 'openai.mjs', script: 'openai-responses.mjs', by: 'client', pools: openAi },
  { block: 'openai.mjs', script: 'openai-chat.mjs', by: 'client', pools: openAi },
  { block: 'ai-sdk-openai.mjs', script: 'ai-sdk.mjs', by: "openai('gpt-5.5')", pools: openAi },
  { block: 'agents.mjs', script: 'agents.mjs', by: 'config', pools: openAi },
  {
    block: 'codex-sdk.mjs',
    script: 'codex-sdk.mjs',
    by: 'codex',
    pools: ['ChatGPT accounts'],
    tool: { custom: 'exec', input: 'text("a cloud")' },
    warmsUp: true,
  },
  { block: 'genai.mjs', script: 'genai.mjs', by: 'client', pools: google },
  { block: 'ai-sdk-google.mjs', script: 'ai-sdk.mjs', by: "google('gemini-2.5-flash')", pools: google },
]

for (const library of libraries)
  for (const pool of library.pools)
    scenario(
      `four turns of ${library.script} with ${library.block}, on ${pool}`,
      pools[pool].options,
      async (stage) => {
        const { tool = { call: 'look', arguments: { at: 'the sky' } }, warmsUp = false } = library
        const check = fourTurns(stage, { tool, output: 'a cloud', limit: pools[pool].limit(), warmsUp })
        const { stdout } = await hold(stage, library)
        check(stdout.trim().split('\n'))
      },
    )

/** Runs the block of the page with a conversation behind it, as a program of its own. */
async function hold(stage: Stage, { block, script, by }: Library): Promise<Run> {
  const cwd = join(stage.folder, 'program')
  await mkdir(cwd)
  await symlink(packages(), join(cwd, 'node_modules'))
  await symlink(join(root, 'test/real/sdk'), join(cwd, 'sdk'))
  const settings = docFiles('docs/clients.md').get(block)?.replaceAll('http://127.0.0.1:8989', stage.url)
  const program = `import converse from './sdk/${script}'\n${settings}\nawait converse(${by})\n`
  await writeFile(join(cwd, 'program.mjs'), program)
  // The fetch of Node looks at the proxies only with the first variable.
  const proxies = { NODE_USE_ENV_PROXY: '1', ...stage.outside.env }
  const env = { PATH: process.env.PATH ?? '', HOME: cwd, TMPDIR: cwd, ...proxies }
  // The scripts find the packages beside the link, not beside the checkout.
  const args = ['--preserve-symlinks', join(cwd, 'program.mjs'), ...PROMPTS]
  const ended = await run(client('node'), args, { cwd, env })
  stage.runs.push(ended)
  return ended
}
