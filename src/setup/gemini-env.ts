import type { Backup, Change } from './change.js'
import { dotenv } from './dotenv.js'
import { type MarkedChange, type MarkedFile, setUp, tearDown } from './marked-file.js'
import type { PoolAddress } from './pool-address.js'
import { at, type Path, type Setting } from './values.js'

/** `login`: Code Assist, over the pool's OAuth accounts. `api-key`: the Gemini API, over the pool's API keys. */
export type GeminiForm = 'login' | 'api-key'

const KEY_HEADER = 'x-codex-pool-key'
const HEADERS = 'GEMINI_CLI_CUSTOM_HEADERS'
// Gemini CLI sends the token to Google as well, when it asks who the user is. So never a secret of the pool.
const DUMMY = 'unused'

/**
 * What the set-up makes of `~/.gemini/.env`.
 * @throws {SetupError} if the file cannot take it
 */
export function geminiEnvSetup(
  file: string,
  before: string | undefined,
  form: GeminiForm,
  address: PoolAddress,
): MarkedChange {
  return setUp(marked(file, before), (values) => settings(form, address, values))
}

/** @throws {SetupError} if the file cannot be read any more */
export const geminiEnvUndo = (file: string, before: string | undefined, copy: Backup): Change =>
  tearDown(marked(file, before), copy)

const marked = (file: string, before: string | undefined): MarkedFile => ({
  file,
  before,
  grammar: dotenv,
  own: OWN,
})

function settings(form: GeminiForm, { url, key }: PoolAddress, values: unknown): Setting[] {
  const headers = key && { path: [HEADERS], value: headersWith(at(values, [HEADERS]), key.secret) }
  return [...addressOf(form, url), ...(headers ? [headers] : [])]
}

function addressOf(form: GeminiForm, url: string): Setting[] {
  if (form === 'api-key')
    return [
      { path: ['GOOGLE_GEMINI_BASE_URL'], value: url },
      { path: ['GEMINI_API_KEY'], value: DUMMY },
    ]
  return [
    { path: ['CODE_ASSIST_ENDPOINT'], value: url },
    { path: ['GOOGLE_GENAI_USE_GCA'], value: 'true' },
    { path: ['GOOGLE_CLOUD_ACCESS_TOKEN'], value: DUMMY },
  ]
}

/** What must not stand otherwise in the shell. A dummy may: any other value does as well. */
export function shellSettings(form: GeminiForm, address: PoolAddress): [name: string, value: string][] {
  return settings(form, address, undefined)
    .filter(({ value }) => value !== DUMMY)
    .map(({ path, value }) => [path.join(), String(value)])
}

const OWN: readonly Path[] = [
  ...addressOf('login', '').map(({ path }) => path),
  ...addressOf('api-key', '').map(({ path }) => path),
  [HEADERS],
]

/** The person's own headers stay. The list is split as Gemini CLI does it: a comma may stand in a value. */
function headersWith(own: unknown, key: string): string {
  const others = (typeof own === 'string' ? own : '')
    .split(/,(?=\s*[^,:]+:)/)
    .map((header) => header.trim())
    .filter((header) => header !== '' && !header.toLowerCase().startsWith(`${KEY_HEADER}:`))
  return [...others, `${KEY_HEADER}: ${key}`].join(', ')
}
