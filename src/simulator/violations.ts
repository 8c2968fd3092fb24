import type { SimRequest, UpstreamKind } from './request.js'

/** What belongs to the client, to its network or to a gateway, and must reach no upstream. */
const NEVER = [
  'cookie',
  'forwarded',
  'via',
  'x-real-ip',
  'proxy-authorization',
  'proxy-connection',
  'openai-organization',
  'openai-project',
  'x-goog-user-project',
  'x-gemini-api-privileged-user-id',
]
const NEVER_PREFIX = ['x-forwarded-', 'x-codex-pool']

/** What belongs to one kind of upstream and must not reach another. */
const FOREIGN: Record<UpstreamKind, readonly string[]> = {
  codex: ['x-goog-api-key'],
  wham: ['x-goog-api-key'],
  openai: ['x-goog-api-key', 'chatgpt-account-id'],
  issuer: ['authorization', 'chatgpt-account-id', 'x-goog-api-key'],
  gemini: ['x-goog-api-key', 'chatgpt-account-id'],
  'gemini-api': ['authorization', 'chatgpt-account-id'],
  'google-token': ['authorization', 'chatgpt-account-id', 'x-goog-api-key'],
  unknown: [],
}

/** What a request carries that it must not. Names only: a value may be somebody's secret. */
export function violationsOf(request: SimRequest, port: number, forbidden: readonly string[]): string[] {
  const names = Object.keys(request.headers)
  const found = names.filter((name) => isForeign(name, request.kind)).map((name) => `header ${name}`)
  if (!request.headers.host?.endsWith(`:${port}`)) found.push('header host of another server')
  if (timesSent(request, 'authorization') > 1) found.push('header authorization twice')
  if (request.query.has('key')) found.push('query parameter key')
  if (forbidden.some((value) => carries(request, value))) found.push('a forbidden value')
  return found.map((what) => `${request.method} ${request.path}: ${what}`)
}

/** Node keeps only the first of two, so a second credential would go unseen. */
function timesSent({ rawHeaders }: SimRequest, name: string): number {
  return rawHeaders.filter((header, index) => index % 2 === 0 && header.toLowerCase() === name).length
}

function isForeign(name: string, kind: UpstreamKind): boolean {
  if (NEVER.includes(name) || FOREIGN[kind].includes(name)) return true
  return NEVER_PREFIX.some((prefix) => name.startsWith(prefix))
}

function carries(request: SimRequest, value: string): boolean {
  return request.url.includes(value) || request.rawHeaders.some((header) => header.includes(value))
}
