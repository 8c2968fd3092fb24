import type { ClientRequest, Provider, ProviderAccount } from '../../config/provider.js'
import { join, normalPath, queryOf } from '../address.js'
import { isApiKey } from './credentials.js'
import type { Settings } from './settings.js'

/** Where a path leads: `rest` begins with `/`, or is empty. */
export interface Place {
  /** The Responses API, or everything else that the ChatGPT backend offers. */
  readonly area: 'responses' | 'backend'
  readonly rest: string
  /** The API that OpenAI's own keys know too. */
  readonly open: boolean
}

/** The client's prefixes. What is not listed keeps its path under the Responses base, as `/responses` does. */
const PREFIXES: readonly (readonly [prefix: string, area: Place['area'], rest: string, open: boolean])[] = [
  ['/backend-api/codex', 'responses', '', false],
  ['/backend-api', 'backend', '', false],
  // A base URL without /backend-api makes Codex write /api/codex for what is /wham there.
  ['/api/codex', 'backend', '/wham', false],
  ['/v1', 'responses', '', true],
]

export function placeOf(path: string): Place {
  const clean = normalPath(path)
  const found = PREFIXES.find(([prefix]) => clean === prefix || clean.startsWith(`${prefix}/`))
  if (!found) return { area: 'responses', rest: clean, open: true }
  const [prefix, area, before, open] = found
  return { area, rest: before + clean.slice(prefix.length), open }
}

export function upstreamPath(settings: Settings): NonNullable<Provider['path']> {
  return function path(request, account) {
    const { area, rest } = placeOf(request.path)
    const base = isApiKey(account.credential)
      ? settings.openaiBase
      : area === 'responses'
        ? settings.responsesBase
        : settings.whamBase
    return join(base, rest) + queryOf(request.url)
  }
}

/** An API key opens the public API, and nothing of the ChatGPT backend. */
export function serves({ credential }: ProviderAccount, { path }: ClientRequest): boolean {
  return placeOf(path).open || !isApiKey(credential)
}

const GENERATION =
  /^\/(responses(\/compact)?|alpha\/search|images\/(generations|edits)|memories\/trace_summarize)$/
/** POST only because the question is long. */
const QUERY = /^\/wham\/usage\/.+\/query$/

/** May be billed twice, but creates nothing twice. */
export function replayable({ path }: ClientRequest): boolean {
  const { area, rest } = placeOf(path)
  return (area === 'responses' ? GENERATION : QUERY).test(rest)
}
