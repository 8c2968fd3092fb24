import type { SimRequest, UpstreamKind } from './request.js'

/** The requests that have arrived, the waits for others, and the rules that requests broke. */
export class Journal {
  readonly requests: SimRequest[] = []
  readonly violations: string[] = []
  readonly #limit: number
  readonly #forbidden: string[] = []
  readonly #waiting = new Set<(request: SimRequest) => void>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** A value that no header and no address may hold from now on. */
  forbid(value: string): void {
    this.#forbidden.push(value)
  }

  violation({ method, path }: SimRequest, what: string): void {
    this.violations.push(`${method} ${path}: ${what}`)
  }

  /** @param port where the simulator listens */
  add(request: SimRequest, port: number): void {
    for (const what of violationsOf(request, port, this.#forbidden)) this.violation(request, what)
    this.requests.push(request)
    if (this.requests.length > this.#limit) this.requests.shift()
    for (const tell of this.#waiting) tell(request)
  }

  /** The first matching request that has not arrived yet. */
  next(matches: (request: SimRequest) => boolean): Promise<SimRequest> {
    return new Promise((resolve) => {
      const tell = (request: SimRequest) => {
        if (!matches(request)) return
        this.#waiting.delete(tell)
        resolve(request)
      }
      this.#waiting.add(tell)
    })
  }
}

/** Headers of the client, of its network or of a gateway, which must reach no upstream. */
const NEVER =
  /^(cookie|forwarded|via|x-real-ip|proxy-(authorization|connection)|openai-(organization|project)|x-goog-user-project|x-gemini-api-privileged-user-id|x-forwarded-.*|x-codex-pool.*)$/

/** Headers of one kind of upstream that must not reach another. */
const FOREIGN: Record<UpstreamKind, RegExp> = {
  codex: /^x-goog-api-key$/,
  wham: /^x-goog-api-key$/,
  openai: /^(x-goog-api-key|chatgpt-account-id)$/,
  issuer: /^(authorization|chatgpt-account-id|x-goog-api-key)$/,
  gemini: /^(x-goog-api-key|chatgpt-account-id)$/,
  'gemini-api': /^(authorization|chatgpt-account-id)$/,
  'gemini-openai': /^(x-goog-api-key|chatgpt-account-id)$/,
  'google-token': /^(authorization|chatgpt-account-id|x-goog-api-key)$/,
  custom: /^$/,
  unknown: /^$/,
}

/** The rules that a request breaks. Names only: a value may be a secret. */
function violationsOf(request: SimRequest, port: number, forbidden: readonly string[]): string[] {
  const { headers, rawHeaders, kind, url, query } = request
  const found = Object.keys(headers)
    .filter((name) => NEVER.test(name) || FOREIGN[kind].test(name))
    .map((name) => `header ${name}`)
  if (!headers.host?.endsWith(`:${port}`)) found.push('header host of another server')
  // Node keeps only the first of two, so a second credential would go unseen in `headers`.
  const names = rawHeaders.filter((_, index) => index % 2 === 0)
  if (names.filter((name) => /^authorization$/i.test(name)).length > 1)
    found.push('header authorization twice')
  if (query.has('key')) found.push('query parameter key')
  const text = [url, ...rawHeaders]
  if (forbidden.some((value) => text.some((part) => part.includes(value)))) found.push('a forbidden value')
  return found
}
