/** What an access token is worth now. */
export type TokenState = 'valid' | 'expired' | 'revoked'

export interface CodexTokens {
  readonly id_token: string
  readonly access_token: string
  readonly refresh_token: string
}

/** Makes tokens that have never been seen; `expiresAt` in ms since 1970. */
export type Mint = (expiresAt: number) => CodexTokens

/**
 * All tokens that descend from one login. A refresh token works once; whoever presents a spent one has copied it,
 * so the whole family dies, access tokens too.
 */
export class TokenFamily {
  readonly #mint: Mint
  readonly #access = new Map<string, number>()
  readonly #spent = new Set<string>()
  #revoked = false
  #tokens: CodexTokens

  constructor(mint: Mint, expiresAt: number) {
    this.#mint = mint
    this.#tokens = this.#issue(expiresAt)
  }

  get tokens(): CodexTokens {
    return this.#tokens
  }

  /** `undefined` for a token of another family. */
  stateOf(accessToken: string, now: number): TokenState | undefined {
    const expiresAt = this.#access.get(accessToken)
    if (expiresAt === undefined) return undefined
    if (this.#revoked) return 'revoked'
    return now >= expiresAt ? 'expired' : 'valid'
  }

  /** Whether a refresh token, spent or not, is of this family. */
  owns(refreshToken: string): boolean {
    return this.#tokens.refresh_token === refreshToken || this.#spent.has(refreshToken)
  }

  refresh(refreshToken: string, expiresAt: number): CodexTokens | 'reused' | 'revoked' {
    if (this.#spent.has(refreshToken)) {
      this.#revoked = true
      return 'reused'
    }
    if (this.#revoked) return 'revoked'
    this.#spent.add(refreshToken)
    this.#tokens = this.#issue(expiresAt)
    return this.#tokens
  }

  /** One more access token beside the current one; the refresh token stays. */
  mintAccess(expiresAt: number): string {
    const { access_token } = this.#mint(expiresAt)
    this.#access.set(access_token, expiresAt)
    return access_token
  }

  /** Every access token of the family ends at once, whatever its `exp` says. */
  expireAccess(): void {
    for (const token of this.#access.keys()) this.#access.set(token, 0)
  }

  revoke(): void {
    this.#revoked = true
  }

  #issue(expiresAt: number): CodexTokens {
    const tokens = this.#mint(expiresAt)
    this.#access.set(tokens.access_token, expiresAt)
    return tokens
  }
}
