import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { toml } from './formats.js'
import { at, type MarkedChange, type MarkedFile, type Path, type Setting } from './marked-lines.js'
import { note, proxyNote } from './pool-address.js'

/**
 * `builtin`: Codex's own provider, sent to the pool; it keeps WebSockets, web search and remote compaction.
 * `provider`: a provider beside the built-in one. `no-login`: the same for a Codex that has never signed in.
 */
export type CodexForm = 'builtin' | 'provider' | 'no-login'

const TABLE: Path = ['model_providers', 'codex-pool']

export const codexFile: Pick<MarkedFile, 'format' | 'own'> = {
  format: toml,
  own: [['openai_base_url'], ['chatgpt_base_url'], ['model_provider'], TABLE],
}

/** The settings to write, given the file's present values. `base` is the pool's address, with the key in its path. */
export function codexSettings(form: CodexForm, base: string, values: unknown): Setting[] {
  const backend: Setting = { path: ['chatgpt_base_url'], value: `${base}/backend-api` }
  if (form === 'builtin')
    return [
      // With a base that ends in /backend-api/codex, Codex calls chatgpt.com directly.
      { path: ['openai_base_url'], value: `${base}/v1` },
      backend,
      { path: ['model_provider'], value: at(values, ['model_provider']) === 'openai' ? 'openai' : undefined },
    ]
  const table = {
    name: 'OpenAI via codex-pool',
    base_url: `${base}/v1`,
    wire_api: 'responses',
    requires_openai_auth: form === 'provider',
  }
  return [{ path: ['model_provider'], value: 'codex-pool' }, backend, { path: TABLE, value: table }]
}

/** Warnings about settings that would keep Codex from using the pool at `url`. Without secrets. */
export async function codexNotes(
  { file, notes, values }: MarkedChange,
  form: CodexForm,
  url: string,
): Promise<string[]> {
  const folder = dirname(file)
  const isSet = (...path: string[]): boolean => at(values, path) !== undefined
  const hasLogin =
    existsSync(join(folder, 'auth.json')) ||
    ['keyring', 'auto'].includes(String(at(values, ['cli_auth_credentials_store'])))
  return [
    ...notes,
    ...note(
      isSet('model_providers', 'openai'),
      '[model_providers.openai] is in the file: Codex refuses to start with it. Give the table another name',
    ),
    ...note(
      isSet('profile'),
      '"profile = …" is in the file: Codex refuses to start with it. Use --profile NAME and NAME.config.toml',
    ),
    ...(await profileNotes(folder)),
    ...note(
      !hasLogin && form !== 'no-login',
      `there is no login in ${folder}: "codex exec" works all the same, but the terminal asks to sign in. ` +
        'Sign in once (codex login), or write the form that works without: codex-pool setup codex --no-login',
    ),
    ...note(
      process.env.OPENAI_BASE_URL,
      'OPENAI_BASE_URL is set: Codex does not look at it, the file counts',
    ),
    ...proxyNote('Codex', url, [new URL(url).protocol]),
  ]
}

/** Warnings about profile files that send Codex elsewhere. */
async function profileNotes(folder: string): Promise<string[]> {
  const files = await readdir(folder).catch(() => [])
  const notes = files.sort().map(async (file) => {
    const profile = /^(.+)\.config\.toml$/.exec(file)?.[1]
    const content = profile ? toml.read(await readFile(join(folder, file), 'utf8').catch(() => '')) : ''
    const keys = ['model_provider', 'openai_base_url', 'chatgpt_base_url'].filter(
      (key) => typeof content === 'object' && at(content.values, [key]) !== undefined,
    )
    return note(
      keys.length > 0,
      `codex --profile ${profile} may not ask the pool: ${file} sets ${keys.join(' and ')}`,
    )
  })
  return (await Promise.all(notes)).flat()
}
