import { homedir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../settings.js'
import { codexFile, codexNotes, codexSettings } from '../setup/codex.js'
import { formFor, installedCodex } from '../setup/codex-version.js'
import { geminiFile, geminiNotes, geminiSettings, typeSetup, typeUndo } from '../setup/gemini.js'
import { setUp, takeBack } from '../setup/marked-lines.js'
import { carryOut, type Change, copyOf, readCopy, readPersonal } from '../setup/personal-file.js'
import { addressNotes, type AddressOptions, poolAddress, withKey } from '../setup/pool-address.js'
import { preview } from '../setup/personal-file.js'
import { print } from './output.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'

/** The options of both; `provider` and `login` are of `setup codex`, `apiKey` is of `setup gemini`. */
interface SetupOptions extends AddressOptions {
  print?: boolean
  undo?: boolean
  provider?: boolean
  /** `--no-login` makes it false. @default true */
  login?: boolean
  apiKey?: boolean
}

/** `codex-pool setup codex` */
export async function setupCodex(common: CommonOptions, options: SetupOptions): Promise<void> {
  const file = join(process.env.CODEX_HOME || join(homedir(), '.codex'), 'config.toml')
  const { text, mode } = await readPersonal(file)
  const config = { ...codexFile, file, before: text }
  if (options.undo) return finish([takeBack(config, await readCopy(file))], [], options)
  const address = poolAddress(await readConfig(sourceOf(common)), options)
  const { form, notes } = await codexForm(options)
  const change = setUp(config, (values) => codexSettings(form, withKey(address), values))
  const warnings = await codexNotes(change, form, address.url)
  await finish([change], [...notes, ...warnings, ...addressNotes(address, mode), AFTERWARDS], options)
}

/** The form that the person asks for, else the one that the installed Codex knows. */
async function codexForm({ login, provider }: SetupOptions): Promise<ReturnType<typeof formFor>> {
  if (login === false) return { form: 'no-login', notes: [] }
  return provider ? { form: 'provider', notes: [] } : formFor(await installedCodex())
}

const AFTERWARDS =
  'Codex reads the file when it starts: start it anew, and stop the server it leaves behind ' +
  '(codex app-server daemon stop). While the pool is not running, Codex waits for it'

/** `codex-pool setup gemini` */
export async function setupGemini(common: CommonOptions, options: SetupOptions): Promise<void> {
  const folder = join(process.env.GEMINI_CLI_HOME || homedir(), '.gemini')
  const [file, settingsFile] = [join(folder, '.env'), join(folder, 'settings.json')]
  const { text, mode } = await readPersonal(file)
  const { text: settings } = await readPersonal(settingsFile)
  const env = { ...geminiFile, file, before: text }
  const [copy, settingsCopy] = [await readCopy(file), await readCopy(settingsFile)]
  if (options.undo)
    return finish([takeBack(env, copy), typeUndo(settingsFile, settings, settingsCopy)], [], options)
  const address = poolAddress(await readConfig(sourceOf(common)), options)
  const form = options.apiKey ? 'api-key' : 'login'
  const change = setUp(env, (values) => geminiSettings(form, address, values))
  const typeChange = typeSetup(settingsFile, settings, form, settingsCopy)
  const notes = geminiNotes(change, typeChange, form, address)
  await finish([change, typeChange], [...notes, ...addressNotes(address, mode)], options)
}

/** Shows the changes or does them, and says what the user should know. */
async function finish(
  changes: readonly Change[],
  notes: readonly string[],
  { print: show, undo }: SetupOptions,
): Promise<void> {
  for (const change of changes) {
    if (!show) await carryOut(change)
    print(show ? previewOf(change) : `${change.file}: ${undo ? undone(change) : done(change)}`)
  }
  for (const note of notes) print(`note: ${note}`)
  if (show) print('Nothing was written.')
  else if (!undo) print('To take it back: setup with --undo.')
}

function previewOf({ file, before, after }: Change): string {
  if (before === after) return `${file}: nothing to change`
  if (after === '') return `${file}: would be removed, it was not there before`
  const lines = preview(before, after).map((line) => `  ${line}`)
  return [`${file}${before === '' ? ' (new)' : ''}`, ...lines].join('\n')
}

function done({ file, before, after, copy }: Change): string {
  if (before === after) return 'nothing to change'
  if (before === '') return 'written'
  return copy === 'make' ? `changed; as it was: ${copyOf(file)}` : 'changed'
}

function undone({ file, before, after, copy }: Change): string {
  if (before === after) return 'nothing to take out'
  if (after === '') return 'removed, it was not there before'
  if (copy === 'drop') return 'taken back'
  return `taken back, and what else has changed since is kept. As it was before: ${copyOf(file)}`
}
