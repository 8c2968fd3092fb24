import type { Account } from '../accounts/account.js'

const FIRST_WAIT_MS = 5_000
/** Upper bound of the wait. An account whose token has ended cannot be used until the next try. */
const LONGEST_WAIT_MS = 60_000

interface Trouble {
  readonly count: number
  readonly retryAt: number
  /** The login whose refresh failed; the wait does not apply to another one. */
  readonly login: string | undefined
  /** Whether the token endpoint was asked at all. */
  readonly called: boolean
}

/** When an account's refresh may be tried again after passing trouble. */
export class Backoff {
  #troubles = new WeakMap<Account, Trouble>()

  constructor(private readonly now: () => number) {}

  /** `notBefore` in ms since 1970. */
  failed(account: Account, { called, notBefore }: { called: boolean; notBefore: number }): void {
    const { login } = account.inspection
    const count = (this.#of(account)?.count ?? 0) + 1
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (count - 1), LONGEST_WAIT_MS)
    this.#troubles.set(account, { count, login, called, retryAt: Math.max(this.now() + wait, notBefore) })
  }

  /** When the background may try again; ms since 1970, 0 if nothing failed. */
  retryAt(account: Account): number {
    return this.#of(account)?.retryAt ?? 0
  }

  /** Whether even a request that needs the token must not ask the token endpoint now. */
  blocks(account: Account): boolean {
    const trouble = this.#of(account)
    return trouble !== undefined && trouble.called && trouble.retryAt > this.now()
  }

  clear(account: Account): void {
    this.#troubles.delete(account)
  }

  #of(account: Account): Trouble | undefined {
    const trouble = this.#troubles.get(account)
    return trouble?.login === account.inspection.login ? trouble : undefined
  }
}

/** A call that failed with one of these never reached the token endpoint. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  // The proxy in between refused the connection.
  'ERR_PROXY',
])
/** Codes of a failed TLS handshake, after which nothing was sent either. */
const HANDSHAKE = /^ERR_TLS_|CERT|^UNABLE_TO_|^EPROTO$/

/** Whether the token endpoint may have taken the refresh token although no answer came. */
export function lostAfterSending(error: Error): boolean {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  const { code = '' } = (error.cause ?? {}) as NodeJS.ErrnoException
  return error instanceof TypeError && !NEVER_SENT.has(code) && !HANDSHAKE.test(code)
}
