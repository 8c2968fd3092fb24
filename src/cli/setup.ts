import { type CodexSetupOptions, setupCodex } from './setup-codex.js'
import { type GeminiSetupOptions, setupGemini } from './setup-gemini.js'

/** One of `codex-pool setup …`. */
interface Setup {
  readonly client: string
  readonly description: string
  readonly options: readonly (readonly [flags: string, description: string])[]
  run(options: CodexSetupOptions & GeminiSetupOptions): Promise<void>
}

const common = [
  ['--key <name>', 'access key to use, by its name in access.keys'],
  ['--url <address>', 'where the pool is (default: where this configuration listens)'],
  ['--print', 'show what would change, and change nothing'],
  ['--undo', 'take the lines out again, and bring back what they replaced'],
] as const

/** They write what `codex-pool clients` prints. */
export const setups: readonly Setup[] = [
  {
    client: 'codex',
    description: 'write $CODEX_HOME/config.toml (default: ~/.codex/config.toml)',
    options: [
      ['--seed, --provider', 'as a provider of its own; Codex then goes without WebSockets'],
      ['--no-login', 'for who has never signed in to Codex; implies --provider'],
      ...common,
    ],
    run: setupCodex,
  },
  {
    client: 'gemini',
    description: 'write ~/.gemini/.env and ~/.gemini/settings.json',
    options: [['--api-key', "use the Gemini API, over the pool's API keys"], ...common],
    run: setupGemini,
  },
]
