import { access } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Environment } from '../../config/index.js'
import type { CodexForm } from './codex-config.js'
import { codexProfiles } from './codex-profiles.js'
import type { MarkedChange } from './marked-file.js'
import type { SetAside } from './marked-lines.js'
import { proxyNote } from './proxy-note.js'
import { at } from './values.js'

export interface CodexScene {
  readonly form: CodexForm
  /** The pool's address. */
  readonly url: string
  readonly env: Environment
}

/** What a person has to know to end up with a Codex that goes through the pool. In plain words, without a secret. */
export async function codexNotes(change: MarkedChange, scene: CodexScene): Promise<string[]> {
  const folder = dirname(change.file)
  return [
    ...change.aside.map((aside) => asideNote(aside, scene.form)),
    ...brokenNotes(change.values),
    ...(await codexProfiles(folder, change.values)),
    ...(await loginNotes(folder, change.values, scene.form)),
    ...environmentNotes(scene),
  ]
}

function asideNote({ path, value, line }: SetAside, form: CodexForm): string {
  const what = `line ${line}, ${path.join('.')}: set aside as a comment`
  const shown = typeof value === 'string' ? value : ''
  if (path[0] === 'model_provider' && form.kind === 'builtin')
    return `${what}, for with the provider "${shown}" Codex would not ask the pool`
  if (path[0] === 'openai_base_url' && /\/backend-api\/codex\/?$/.test(shown))
    return `${what}; an address that ends in /backend-api/codex makes Codex go to chatgpt.com itself`
  return `${what}, for it said something else`
}

/** Codex 0.169 does not start with these. They are the person's to change. */
function brokenNotes(values: unknown): string[] {
  const notes: string[] = []
  if (at(values, ['model_providers', 'openai']) !== undefined)
    notes.push(
      '[model_providers.openai] is in the file: Codex refuses to start with it. Give the table another name',
    )
  const profile = at(values, ['profile'])
  if (profile !== undefined)
    notes.push(
      '"profile = …" is in the file: Codex refuses to start with it. Use --profile NAME and NAME.config.toml',
    )
  return notes
}

async function loginNotes(folder: string, values: unknown, form: CodexForm): Promise<string[]> {
  if (form.kind === 'provider' && !form.login) return []
  const elsewhere = /^(?:keyring|auto)$/.test(String(at(values, ['cli_auth_credentials_store'])))
  const present = await access(join(folder, 'auth.json')).then(
    () => true,
    () => false,
  )
  if (elsewhere || present) return []
  return [
    `there is no login in ${folder}: "codex exec" works all the same, but the terminal asks to sign in. ` +
      'Sign in once (codex login), or write the form that works without: codex-pool setup codex --no-login',
  ]
}

function environmentNotes({ url, env }: CodexScene): string[] {
  const notes: string[] = []
  if (env.OPENAI_BASE_URL) notes.push('OPENAI_BASE_URL is set: Codex does not look at it, the file counts')
  const plain = url.startsWith('http:')
  const proxy = proxyNote(
    'Codex',
    url,
    plain ? ['HTTP_PROXY', 'ALL_PROXY'] : ['HTTPS_PROXY', 'ALL_PROXY'],
    env,
  )
  return proxy === undefined ? notes : [...notes, proxy]
}
