import type { Backup, Change } from './change.js'
import { type MarkedChange, type MarkedFile, setUp, tearDown } from './marked-file.js'
import { toml } from './toml.js'
import { at, type Path, type Setting } from './values.js'

/**
 * `builtin`: Codex's own provider, sent to the pool; it keeps WebSockets, web search and remote compaction.
 * `provider`: a provider of its own beside the built-in one; `login: false` for who has never signed in.
 */
export type CodexForm = { readonly kind: 'builtin' } | { readonly kind: 'provider'; readonly login: boolean }

const NAME = 'codex-pool'
const TABLE: Path = ['model_providers', NAME]
const OWN: readonly Path[] = [['openai_base_url'], ['chatgpt_base_url'], ['model_provider'], TABLE]

/**
 * What the set-up makes of `config.toml`. `base` is the pool's address, with the key in its path.
 * @throws {SetupError} if the file cannot take it
 */
export function codexSetup(
  file: string,
  before: string | undefined,
  form: CodexForm,
  base: string,
): MarkedChange {
  return setUp(marked(file, before), (values) => settings(form, base, values))
}

/** @throws {SetupError} if the file cannot be read any more */
export const codexUndo = (file: string, before: string | undefined, copy: Backup): Change =>
  tearDown(marked(file, before), copy)

const marked = (file: string, before: string | undefined): MarkedFile => ({
  file,
  before,
  grammar: toml,
  own: OWN,
})

function settings(form: CodexForm, base: string, values: unknown): Setting[] {
  const backend: Setting = { path: ['chatgpt_base_url'], value: `${base}/backend-api` }
  if (form.kind === 'provider')
    return [
      { path: ['model_provider'], value: NAME },
      backend,
      { path: TABLE, value: provider(base, form.login) },
    ]
  const builtin = at(values, ['model_provider']) === 'openai'
  return [
    // Not /backend-api/codex, with which Codex goes to chatgpt.com itself.
    { path: ['openai_base_url'], value: `${base}/v1` },
    backend,
    ...(builtin ? [] : [{ path: ['model_provider'], value: undefined }]),
  ]
}

function provider(base: string, login: boolean): Record<string, string | boolean> {
  return {
    name: 'OpenAI via codex-pool',
    base_url: `${base}/v1`,
    wire_api: 'responses',
    requires_openai_auth: login,
  }
}
