import type { Backup, Change } from './change.js'
import type { GeminiForm } from './gemini-env.js'
import { setJson } from './json-setting.js'
import { readJson } from './json.js'
import { refused } from './setup-error.js'
import { at, type Path } from './values.js'

const TYPE: Path = ['security', 'auth', 'selectedType']
const OURS: Readonly<Record<GeminiForm, string>> = { login: 'oauth-personal', 'api-key': 'gemini-api-key' }

/** What a settings file that was not there is made from; Gemini CLI takes an empty one for an error. */
const EMPTY = '{}\n'

/**
 * What the set-up makes of `~/.gemini/settings.json`.
 * @throws {SetupError} if the file cannot take it
 */
export function geminiSettingsSetup(
  file: string,
  before: string | undefined,
  form: GeminiForm,
  copy: Backup,
): Change {
  const wanted = OURS[form]
  const present = selected(file, before)
  if (present === wanted) return { file, before, after: before, backup: 'leave' }
  // The other form is ours as well: then the copy is from before both.
  const backup = copy && isOurs(present) ? 'leave' : 'make'
  return { file, before, after: set(file, before, wanted), backup }
}

/** Gives the setting the value that it had, unless the person has chosen another one since. */
export function geminiSettingsUndo(file: string, before: string | undefined, copy: Backup): Change {
  const present = selected(file, before)
  if (before === undefined || !copy || !isOurs(present))
    return { file, before, after: before, backup: 'drop' }
  // Nothing else has changed since: then the copy is what comes out, byte for byte.
  if (set(file, copy.text, present) === before) return { file, before, after: copy.text, backup: 'drop' }
  const kept = [TYPE, TYPE.slice(0, 2), TYPE.slice(0, 1)]
  const after = kept.reduce(
    (text, path) => restored(file, text, path, valueIn(file, copy.text, path)),
    before,
  )
  return { file, before, after, backup: 'drop' }
}

/** A table is taken out only if it was not there and is empty now. */
function restored(file: string, text: string, path: Path, former: unknown): string {
  if (path === TYPE) return set(file, text, former)
  const table = valueIn(file, text, path)
  const emptied =
    former === undefined && typeof table === 'object' && table !== null && Object.keys(table).length === 0
  return emptied ? set(file, text, undefined, path) : text
}

const isOurs = (value: unknown): boolean => Object.values(OURS).includes(String(value))

const selected = (file: string, text: string | undefined): unknown => valueIn(file, text, TYPE)

function valueIn(file: string, text: string | undefined, path: Path): unknown {
  const reading = readJson(text ?? EMPTY)
  if ('problem' in reading) throw refused(file, reading.problem)
  return at(reading.values, path)
}

function set(file: string, text: string | undefined, value: unknown, path: Path = TYPE): string {
  const done = setJson(text ?? EMPTY, path, value)
  if ('problem' in done) throw refused(file, done.problem)
  return done.text
}
