import { homedir } from 'node:os'
import { join } from 'node:path'
import { readBackup } from '../setup/change.js'
import { type GeminiForm, geminiEnvSetup, geminiEnvUndo } from '../setup/gemini-env.js'
import { geminiNotes } from '../setup/gemini-notes.js'
import { geminiSettingsSetup, geminiSettingsUndo } from '../setup/gemini-settings.js'
import { readPersonal } from '../setup/personal-file.js'
import { addressFor, finish, type SetupOptions } from './setup-run.js'

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
