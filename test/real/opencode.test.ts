import { type Agent, fourTurnsOf } from './agent.js'
import { client } from './clients.js'

const opencode: Omit<Agent, 'model' | 'file'> = {
  name: 'opencode',
  tool: { call: 'bash', arguments: { command: 'echo "a cloud"', description: 'Looks at the sky' } },
  program: () => [client('opencode')],
  first: ['run'],
  later: ['run', '--continue'],
}

const FILE = '~/.config/opencode/opencode.json'
fourTurnsOf({ ...opencode, model: 'gpt-5.5', file: FILE }, 'ChatGPT accounts')
fourTurnsOf({ ...opencode, model: 'gemini-2.5-flash', file: `${FILE}, Gemini` }, 'Gemini API keys')
