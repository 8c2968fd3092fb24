import { homedir } from 'node:os'
import { join } from 'node:path'
import { readBackup } from '../setup/change.js'
import { type CodexForm, codexSetup, codexUndo } from '../setup/codex-config.js'
import { codexNotes } from '../setup/codex-notes.js'
import { readPersonal } from '../setup/personal-file.js'
import { withKey } from '../setup/pool-address.js'
import { addressFor, finish, type SetupOptions } from './setup-run.js'

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
