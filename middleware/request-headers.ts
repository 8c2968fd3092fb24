import type { IncomingHttpHeaders } from 'node:http'

/** They belong to one connection (RFC 9110 §7.6.1); `host` and `content-length` are set anew for each attempt. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
])

/** Who the client is, and where it sits: no business of an upstream that sees another account. */
const IDENTITY: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'api-key',
  'x-api-key',
  'chatgpt-account-id',
  'openai-organization',
  'openai-project',
  'x-goog-api-key',
  'x-goog-user-project',
  'x-gemini-api-privileged-user-id',
  'forwarded',
  'via',
  'x-real-ip',
  'origin',
  'referer',
])

const PRIVATE_PREFIX = /^(x-forwarded-|x-codex-pool-|sec-fetch-)/

/** The client's headers as far as an upstream may see them. */
export function forwardable(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = headers.connection?.toLowerCase().split(/\s*,\s*/) ?? []
  const kept: IncomingHttpHeaders = {}
  for (const [name, value] of Object.entries(headers)) {
    if (HOP_BY_HOP.has(name) || IDENTITY.has(name) || PRIVATE_PREFIX.test(name) || named.includes(name))
      continue
    if (name === 'host' || name === 'content-length') continue
    kept[name] = value
  }
  return kept
}
