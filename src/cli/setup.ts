import { homedir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../settings.js'
import { backupFile, carryOut, type Change, readBackup } from '../setup/change.js'
import { type CodexForm, codexSetup, codexUndo } from '../setup/codex-config.js'
import { codexNotes } from '../setup/codex-notes.js'
import { geminiEnvSetup, geminiEnvUndo, type GeminiForm } from '../setup/gemini-env.js'
import { geminiNotes } from '../setup/gemini-notes.js'
import { geminiSettingsSetup, geminiSettingsUndo } from '../setup/gemini-settings.js'
import { lineDiff } from '../setup/line-diff.js'
import { readPersonal } from '../setup/personal-file.js'
import {
  type AddressOptions,
  isPrivateWay,
  type PoolAddress,
  poolAddress,
  withKey,
} from '../setup/pool-address.js'
import { redact } from '../setup/redact.js'
import { print } from './output.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'

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

export interface CodexSetupOptions extends SetupOptions {
  provider?: boolean
  /** `--no-login` makes it false. @default true */
  login?: boolean
}

/** `codex-pool setup codex` */
export async function setupCodex(options: CodexSetupOptions): Promise<void> {
  const file = join(process.env.CODEX_HOME || join(homedir(), '.codex'), 'config.toml')
  const present = await readPersonal(file)
  if (options.undo) return finish([codexUndo(file, present?.text, await readBackup(file))], [], options)
  const { address, notes } = await addressFor(options, present?.mode)
  const { provider, login = true } = options
  const form: CodexForm = provider || !login ? { kind: 'provider', login } : { kind: 'builtin' }
  const change = codexSetup(file, present?.text, form, withKey(address))
  const more = await codexNotes(change, { form, url: address.url, env: process.env })
  await finish([change], [...more, ...notes, AFTERWARDS], options)
}

const AFTERWARDS =
  'Codex reads the file when it starts: start it anew, and stop the server it leaves behind ' +
  '(codex app-server daemon stop). While the pool is not running, Codex waits for it'

export interface GeminiSetupOptions extends SetupOptions {
  apiKey?: boolean
}

/** `codex-pool setup gemini` */
export async function setupGemini(options: GeminiSetupOptions): Promise<void> {
  const home = process.env.GEMINI_CLI_HOME || homedir()
  const envFile = join(home, '.gemini', '.env')
  const settingsFile = join(home, '.gemini', 'settings.json')
  const [env, settings] = [await readPersonal(envFile), (await readPersonal(settingsFile))?.text]
  const [envCopy, settingsCopy] = [await readBackup(envFile), await readBackup(settingsFile)]
  if (options.undo) {
    const envChange = geminiEnvUndo(envFile, env?.text, envCopy)
    return finish([envChange, geminiSettingsUndo(settingsFile, settings, settingsCopy)], [], options)
  }
  const { address, notes } = await addressFor(options, env?.mode)
  const form: GeminiForm = options.apiKey ? 'api-key' : 'login'
  const envChange = geminiEnvSetup(envFile, env?.text, form, address)
  const settingsChange = geminiSettingsSetup(settingsFile, settings, form, settingsCopy)
  const scene = { form, address, env: process.env, cwd: process.cwd(), home }
  const more = geminiNotes(envChange, settingsChange.after ?? '', scene)
  await finish([envChange, settingsChange], [...more, ...notes], options)
}

export interface SetupOptions extends CommonOptions, AddressOptions {
  print?: boolean
  undo?: boolean
}

/** Where the client shall go, and what is worth knowing about it. `mode`: of the file that the address goes into. */
export async function addressFor(
  options: SetupOptions,
  mode = 0o600,
): Promise<{ address: PoolAddress; notes: string[] }> {
  const address = poolAddress(await readConfig(sourceOf(options)), options)
  const notes: string[] = []
  if (address.key && (mode & 0o077) !== 0)
    notes.push(
      'the file holds an access key of the pool now, and others on this machine may read it: chmod 600',
    )
  if (!isPrivateWay(address.url))
    notes.push(`the way to ${address.url} is not encrypted, and the client sends its own login along`)
  return { address, notes }
}

/** Shows the changes or does them, and says what the person should know. */
export async function finish(
  changes: readonly Change[],
  notes: readonly string[],
  { print: show, undo }: SetupOptions,
): Promise<void> {
  for (const change of changes) {
    if (!show) await carryOut(change)
    print(show ? preview(change) : undo ? undone(change) : done(change))
  }
  for (const note of notes) print(`note: ${note}`)
  if (show) print('Nothing was written.')
  else if (!undo) print('To take it back, the same command with --undo.')
}

function preview({ file, before, after }: Change): string {
  if (before === after) return `${file}: nothing to change`
  if (after === undefined) return `${file}: would be removed, it was not there before`
  const lines = lineDiff(before ?? '', after).map((line) => line.replace(/(?<=^[-+] \d+: ).*/, redact))
  return [`${file}${before === undefined ? ' (new)' : ''}`, ...lines.map((line) => `  ${line}`)].join('\n')
}

function done({ file, before, after, backup }: Change): string {
  if (before === after) return `${file}: nothing to change`
  if (before === undefined) return `${file}: written`
  return backup === 'make' ? `${file}: changed; as it was: ${backupFile(file)}` : `${file}: changed`
}

function undone({ file, before, after, backup }: Change): string {
  if (before === after) return `${file}: nothing to take out`
  if (after === undefined) return `${file}: removed, it was not there before`
  if (backup === 'drop') return `${file}: taken back`
  return `${file}: taken back, and what else has changed since is kept. As it was before: ${backupFile(file)}`
}
