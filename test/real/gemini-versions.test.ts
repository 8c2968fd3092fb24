import { join } from 'node:path'
import { text } from '../../src/simulator/index.js'
import { readmeFile, variablesIn } from '../kit/readme-blocks.js'
import { fourTurns, PROMPTS } from './conversation.js'
import { gemini, type SetUp } from './gemini.js'
import { type Pool, pools } from './pools.js'
import { scenario } from './stage.js'

interface Mode {
  readonly name: string
  readonly settings: string
  readonly pool: Pool
}

const modes: Mode[] = [
  {
    name: 'token mode',
    settings: '~/.gemini/settings.json',
    pool: 'Code Assist accounts',
  },
  {
    name: 'API-key mode',
    settings: '~/.gemini/settings.json, API-key mode',
    pool: 'Gemini API keys',
  },
]

/** The mode as the README has it, with a text in place of `unused` that is found where it must not be. */
function setUpOf({ name, settings }: Mode, url: string): SetUp {
  const secret = 'a-credential-of-nobody'
  const shell = readmeFile(name).replaceAll('http://127.0.0.1:8989', url).replaceAll('unused', secret)
  const selectedType = text(JSON.parse(readmeFile(settings)), 'security', 'auth', 'selectedType') ?? ''
  return { selectedType, env: variablesIn(shell), secret }
}

for (const version of ['gemini-0.45', 'gemini'] as const)
  for (const mode of modes)
    scenario(`four turns of ${version} in ${mode.name}`, pools[mode.pool].options, async (stage) => {
      const me = await gemini(stage, setUpOf(mode, stage.url), version)
      const file_path = join(me.cwd, 'sky.txt')
      const tool = { call: 'write_file', arguments: { file_path, content: 'a cloud' } }
      const check = fourTurns(stage, { tool, output: file_path, limit: pools[mode.pool].limit() })
      const [first, ...others] = PROMPTS
      const yolo = ['--approval-mode', 'yolo', '-p']
      const ended = [await me.run(...yolo, first)]
      for (const prompt of others) ended.push(await me.run('--resume', 'latest', ...yolo, prompt))
      check(ended.map(({ stdout }) => stdout))
    })
