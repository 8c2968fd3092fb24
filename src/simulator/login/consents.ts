import { createHash, randomBytes } from 'node:crypto'

/** What a client asked a person for. */
export interface Asked {
  readonly clientId: string
  readonly redirectUri: string
  /** PKCE's, S256. */
  readonly challenge: string
}

/** ms; RFC 6749 §4.1.2 recommends no more. */
const LIFETIME_MS = 10 * 60_000

/** The authorization codes that stand for a person's consent. Each works once, for who asked, and not for long. */
export class Consents<Account> {
  readonly #given = new Map<string, { account: Account; asked: Asked; expiresAt: number }>()

  constructor(private readonly now: () => number) {}

  /** The code. */
  give(account: Account, asked: Asked): string {
    const code = `ac_sim_${randomBytes(18).toString('base64url')}`
    this.#given.set(code, { account, asked, expiresAt: this.now() + LIFETIME_MS })
    return code
  }

  /** Whose consent a token request presents. `undefined`: nobody's, or not as it was given. */
  redeem(form: URLSearchParams): Account | undefined {
    const code = form.get('code') ?? ''
    const consent = this.#given.get(code)
    // Spent even by a request that is wrong in something else.
    this.#given.delete(code)
    if (!consent || this.now() >= consent.expiresAt) return undefined
    const { clientId, redirectUri, challenge } = consent.asked
    if (form.get('client_id') !== clientId || form.get('redirect_uri') !== redirectUri) return undefined
    return challengeOf(form.get('code_verifier') ?? '') === challenge ? consent.account : undefined
  }
}

/** S256 of a verifier (RFC 7636 §4.2); of a malformed one, what no challenge is. */
export function challengeOf(verifier: string): string {
  if (!/^[\w.~-]{43,128}$/.test(verifier)) return 'malformed'
  return createHash('sha256').update(verifier).digest('base64url')
}
