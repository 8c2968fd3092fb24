import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import jsonc from 'jsonc-parser'
import { dotenv } from './formats.js'
import { at, type MarkedChange, type MarkedFile, type Path, type Setting } from './marked-lines.js'
import { type Change, refused } from './personal-file.js'
import { note, type PoolAddress, proxyNote } from './pool-address.js'

/** `login`: Code Assist, over the pool's OAuth accounts. `api-key`: the Gemini API, over the pool's API keys. */
export type GeminiForm = 'login' | 'api-key'

const HEADERS = 'GEMINI_CLI_CUSTOM_HEADERS'
/** Gemini CLI sends the token to Google as well, to ask who the user is. So it is never a secret of the pool. */
const DUMMY = 'unused'

/** The settings to write into `~/.gemini/.env`, given its present values. */
export function geminiSettings(form: GeminiForm, { url, key }: PoolAddress, values: unknown): Setting[] {
  const wanted =
    form === 'api-key'
      ? { GOOGLE_GEMINI_BASE_URL: url, GEMINI_API_KEY: DUMMY }
      : { CODE_ASSIST_ENDPOINT: url, GOOGLE_GENAI_USE_GCA: 'true', GOOGLE_CLOUD_ACCESS_TOKEN: DUMMY }
  const headers = key === undefined ? {} : { [HEADERS]: headersWith(at(values, [HEADERS]), key) }
  return Object.entries({ ...wanted, ...headers }).map(([name, value]) => ({ path: [name], value }))
}

/** `~/.gemini/.env` */
export const geminiFile: Pick<MarkedFile, 'format' | 'own'> = {
  format: dotenv,
  own: (['login', 'api-key'] as const).flatMap((form) =>
    geminiSettings(form, { url: '', key: '' }, undefined).map(({ path }) => path),
  ),
}

/** The user's own headers stay. The list is split as Gemini CLI does it: a comma may stand in a value. */
function headersWith(own: unknown, key: string): string {
  const others = (typeof own === 'string' ? own : '')
    .split(/,(?=\s*[^,:]+:)/)
    .map((header) => header.trim())
    .filter((header) => header !== '' && !/^x-codex-pool-key:/i.test(header))
  return [...others, `x-codex-pool-key: ${key}`].join(', ')
}

const TYPE: Path = ['security', 'auth', 'selectedType']
const TYPES: Readonly<Record<GeminiForm, string>> = { login: 'oauth-personal', 'api-key': 'gemini-api-key' }
const isOurs = (type: unknown): boolean => Object.values(TYPES).includes(String(type))
/** The content of a new settings file: Gemini CLI takes an empty one for an error. */
const EMPTY = '{\n}\n'

/** What the set-up makes of `~/.gemini/settings.json`. JSON has no lines to set aside: the copy holds the former value. */
export function typeSetup(file: string, before: string, form: GeminiForm, copy: string | undefined): Change {
  const present = jsonValue(file, before || EMPTY, TYPE)
  if (present === TYPES[form]) return { file, before, after: before, copy: 'keep' }
  const after = withJsonValue(file, before || EMPTY, TYPE, TYPES[form])
  // After a set-up of the other form the copy is from before both.
  return { file, before, after, copy: copy !== undefined && isOurs(present) ? 'keep' : 'make' }
}

/** Gives the setting the value that it had, unless the user has chosen another one since. */
export function typeUndo(file: string, before: string, copy: string | undefined): Change {
  const present = jsonValue(file, before || EMPTY, TYPE)
  if (copy === undefined || !isOurs(present)) return { file, before, after: before, copy: 'drop' }
  const former = copy || EMPTY
  if (withJsonValue(file, former, TYPE, present) === before)
    return { file, before, after: copy, copy: 'drop' }
  const after = withJsonValue(file, before, TYPE, jsonValue(file, former, TYPE))
  return { file, before, after, copy: 'keep' }
}

/** Warnings about settings that would keep Gemini CLI from using the pool. Without secrets. */
export function geminiNotes(
  env: MarkedChange,
  settings: Change,
  form: GeminiForm,
  address: PoolAddress,
): string[] {
  const nearer = nearerFile(dirname(dirname(env.file)))
  const enforced =
    jsonValue(settings.file, settings.after, ['security', 'auth', 'enforcedType']) ?? TYPES[form]
  return [
    ...env.notes,
    'Gemini CLI reads this file only in folders that you have trusted. In others it goes to Google itself: ' +
      'trust the folder when it asks, or export the lines in your shell',
    ...note(
      nearer,
      `${nearer} hides this one: Gemini CLI reads the nearest only. Start it with --ignore-env in there`,
    ),
    ...note(
      enforced !== TYPES[form],
      `security.auth.enforcedType allows only "${enforced}": Gemini CLI will not start with "${TYPES[form]}"`,
    ),
    ...geminiSettings(form, address, undefined).flatMap(({ path: [name = ''], value }) =>
      note(
        // Any other value does as well as the dummy.
        value !== DUMMY && (process.env[name] ?? value) !== value,
        `${name} is set in your shell to something else, and the shell wins over the file: unset it`,
      ),
    ),
    // Gemini CLI obeys HTTPS_PROXY for addresses with http: too.
    ...proxyNote('Gemini CLI', address.url, ['https:', 'http:']),
  ]
}

/** Gemini CLI reads one `.env`: the first on the way up from the working folder. */
function nearerFile(home: string): string | undefined {
  for (let folder = resolve('.'); folder !== home && folder !== dirname(folder); folder = dirname(folder)) {
    const nearer = [join(folder, '.gemini', '.env'), join(folder, '.env')].find((file) => existsSync(file))
    if (nearer !== undefined) return nearer
  }
  return undefined
}

/** Reads one setting of a JSON file as Gemini CLI does: with comments, but no comma behind the last entry. */
export function jsonValue(file: string, text: string, path: Path): unknown {
  const errors: jsonc.ParseError[] = []
  const values: unknown = jsonc.parse(text, errors, { allowTrailingComma: false })
  if (errors.length === 0 && typeof values === 'object' && !Array.isArray(values)) return at(values, path)
  const line = text.slice(0, errors[0]?.offset ?? 0).split('\n').length
  throw refused(file, `is not a JSON object (line ${line})`)
}

/** Sets one value, or takes it out (`undefined`). Every other byte stays. */
export function withJsonValue(file: string, text: string, path: Path, value: unknown): string {
  const changed = modified(text, path, value)
  // Of a key that stands there twice the first is found, and the last counts.
  if (changed !== undefined && jsonValue(file, changed, path) === value) return changed
  throw refused(file, `cannot take ${path.join('.')}: a key of it is there twice, or holds something else`)
}

function modified(text: string, path: Path, value: unknown): string | undefined {
  try {
    // As the first entry: behind the last one, comments may follow.
    const edits = jsonc.modify(text, [...path], value, { getInsertionIndex: () => 0 })
    return edits.reduce((done, { offset, length, content }) => {
      const blanks = length === 0 ? /^\s*/.exec(done.slice(offset))![0] : ''
      return done.slice(0, offset) + blanks + content + done.slice(offset + length)
    }, text)
  } catch {
    // A value stands where a table is expected.
    return undefined
  }
}
