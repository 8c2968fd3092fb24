import { type Agent, fourTurnsOf } from './agent.js'
import { client } from './clients.js'

const qwen: Omit<Agent, 'model' | 'file' | 'shell'> = {
  name: 'qwen-code',
  tool: { call: 'run_shell_command', arguments: { command: 'echo "a cloud"', is_background: false } },
  // It needs a later Node than the one that its first line may find.
  program: () => [client('node'), client('qwen')],
  first: ['--approval-mode', 'yolo', '-p'],
  later: ['--approval-mode', 'yolo', '--continue', '-p'],
}

const FILE = '~/.qwen/settings.json'
fourTurnsOf({ ...qwen, model: 'gpt-5.5', file: FILE, shell: 'qwen-code' }, 'ChatGPT accounts')
fourTurnsOf(
  { ...qwen, model: 'gemini-2.5-flash', file: `${FILE}, Gemini`, shell: 'qwen-code, Gemini' },
  'Gemini API keys',
)
