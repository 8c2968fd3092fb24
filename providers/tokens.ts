import { createHash } from 'node:crypto'
import { timeFrom } from '../config/index.js'
import { type CallContext, CredentialRejected } from '../config/provider.js'
import { type Fields, fields, number, parseJson, text } from './json.js'

export interface TokenCall {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Whether an answer means that this login can never be refreshed again. */
  readonly isFinal: (status: number, code: string | undefined) => boolean
  /** The message for people in that case. */
  readonly explain: (code: string) => string
}

/**
 * Calls an OAuth token endpoint.
 * @throws CredentialRejected for a final refusal, an error without the answer's text for passing trouble, and what
 * `fetch` throws
 */
export async function callTokenEndpoint(call: TokenCall, context: CallContext): Promise<Fields> {
  // A redirect would send the refresh token to another host, so it is not followed.
  const init = { method: 'POST', headers: call.headers, body: call.body, redirect: 'manual' as const }
  const response = await context.fetch(call.url, { ...init, signal: context.signal })
  const answer = fields(parseJson(await response.text()))
  if (response.ok && answer) return answer
  // A TypeError, as fetch throws for a lost answer: the refresh token may be spent in both cases.
  if (response.ok) throw new TypeError('the token endpoint answered with something that is not JSON')
  const code = errorCode(answer)
  if (call.isFinal(response.status, code)) {
    const shown = code ?? `http_${response.status}`
    throw new CredentialRejected(shown, call.explain(shown))
  }
  throw Object.assign(new Error(`the token endpoint answered ${response.status}`), { code })
}

/** `{"error":{"code":"…"}}`, `{"error":"…"}` or `{"code":"…"}`. */
export function errorCode(answer: Fields | undefined): string | undefined {
  const code = text(fields(answer?.error)?.code) ?? text(answer?.error) ?? text(answer?.code)
  return shortWord(code)
}

/** A code is shown to people and stored, so only a short word counts: an upstream may repeat the request there. */
export function shortWord(value: unknown): string | undefined {
  const word = text(value)
  return word !== undefined && /^[\w.-]{1,64}$/.test(word) ? word : undefined
}

/** The claims of a JWT. Its signature is not checked: the upstream does that. */
export function jwtClaims(token: unknown): Fields | undefined {
  const payload = text(token)?.split('.')[1]
  return payload === undefined ? undefined : fields(parseJson(Buffer.from(payload, 'base64url').toString()))
}

/** When a JWT ends; ms since 1970. `undefined` for an opaque token and a time that cannot be. */
export function jwtExpiry(token: unknown): number | undefined {
  const seconds = number(jwtClaims(token)?.exp)
  return seconds === undefined ? undefined : timeFrom(seconds * 1000)
}

/** A hash by which a value is recognised without being stored. */
export function fingerprint(value: string): string {
  return createHash('sha256').update(value).digest('base64url')
}
