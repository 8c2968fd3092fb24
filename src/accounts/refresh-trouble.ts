import type { Account } from './account.js'

const FIRST_WAIT_MS = 5_000
const LONGEST_WAIT_MS = 5 * 60_000

/** When an account's refresh may be tried again after passing trouble. */
export class Backoff {
  #failures = new Map<Account, { count: number; retryAt: number }>()

  constructor(private readonly now: () => number) {}

  failed(account: Account, notBefore: number): void {
    const count = (this.#failures.get(account)?.count ?? 0) + 1
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (count - 1), LONGEST_WAIT_MS)
    this.#failures.set(account, { count, retryAt: Math.max(this.now() + wait, notBefore) })
  }

  /** ms since 1970; 0 if nothing failed. */
  retryAt(account: Account): number {
    return this.#failures.get(account)?.retryAt ?? 0
  }

  clear(account: Account): void {
    this.#failures.delete(account)
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
])

/** Whether the token endpoint may have taken the refresh token although no answer came. */
export function lostAfterSending(error: Error): boolean {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  const cause = error.cause as NodeJS.ErrnoException | undefined
  return error instanceof TypeError && !NEVER_SENT.has(cause?.code ?? '')
}
