import { randomBytes } from 'node:crypto'
import { type CodexTokens, TokenFamily, type TokenState } from './family.js'
import { mintTokens } from './tokens.js'
import type { CodexCredits, CodexWindow, CodexWindows, WindowName } from './quota.js'
import { openWindow, openWindows, roll } from './quota.js'

export interface CodexAccountOptions {
  /** Name in tests and of the credential file, without `.json`. */
  id: string
  /** @default 'plus' */
  plan?: string
  /** The ChatGPT workspace; members of one workspace share it. @default `acct-ID` */
  accountId?: string
  /** @default `ID@example.com` */
  email?: string
  /** @default 0 % of 300 minutes */
  primary?: Partial<CodexWindow>
  /** `false`: the plan has one window only. @default 0 % of 10080 minutes */
  secondary?: Partial<CodexWindow> | false
  /** @default none */
  credits?: Partial<CodexCredits>
  /** Models that the account may use. @default all */
  models?: string[]
  /** Life of an access token; ms. @default 864000000 (10 days, as the real issuer's) */
  accessTokenLifetimeMs?: number
}

/** An `auth.json` of the Codex CLI. */
export interface AuthJson {
  auth_mode: 'chatgpt'
  OPENAI_API_KEY: null
  tokens: CodexTokens & { account_id: string }
  last_refresh: string
}

/** A ChatGPT account. What it says about itself may be changed at any time. */
export class CodexAccount {
  readonly id: string
  readonly accountId: string
  readonly userId: string
  readonly email: string
  plan: string
  models: string[] | undefined
  credits: CodexCredits
  windows: CodexWindows
  accessTokenLifetimeMs: number
  /** Refreshes that worked. */
  refreshes = 0
  /** Times that a spent refresh token was presented. */
  reuses = 0
  /** Input tokens of the last request of each conversation: what the prompt cache would still hold. */
  readonly cache = new Map<string, number>()
  readonly #now: () => number
  readonly #families: TokenFamily[] = []
  readonly #accessTokens = new Map<string, TokenState>()
  #family: TokenFamily

  constructor(options: CodexAccountOptions, now: () => number) {
    this.#now = now
    this.id = options.id
    this.accountId = options.accountId ?? `acct-${options.id}`
    this.userId = `user-${options.id}`
    this.email = options.email ?? `${options.id}@example.com`
    this.plan = options.plan ?? 'plus'
    this.models = options.models
    this.credits = { hasCredits: false, unlimited: false, balance: '0', ...options.credits }
    this.windows = openWindows(options.primary, options.secondary, now())
    this.accessTokenLifetimeMs = options.accessTokenLifetimeMs ?? 864_000_000
    this.#family = this.#newFamily()
  }

  get accessToken(): string {
    return this.#family.tokens.access_token
  }

  get refreshToken(): string {
    return this.#family.tokens.refresh_token
  }

  /**
   * What `codex login` would have left now. `expired` and `expiresInMs` put another access token in, with that `exp`;
   * the refresh token is the current one, so two files of one account are two copies of one login.
   */
  authJson(options: { expired?: boolean; expiresInMs?: number } = {}): AuthJson {
    const expiresInMs = options.expired ? -60_000 : options.expiresInMs
    const tokens = { ...this.#family.tokens, account_id: this.accountId }
    if (expiresInMs !== undefined) tokens.access_token = this.#family.mintAccess(this.#now() + expiresInMs)
    const last_refresh = new Date(this.#now()).toISOString()
    return { auth_mode: 'chatgpt', OPENAI_API_KEY: null, tokens, last_refresh }
  }

  /** What `codex login --with-access-token` leaves, with a new personal access token. */
  accessTokenJson(): { OPENAI_API_KEY: null; personal_access_token: string } {
    const token = `at-sim-${this.id}-${randomBytes(12).toString('base64url')}`
    this.#accessTokens.set(token, 'valid')
    return { OPENAI_API_KEY: null, personal_access_token: token }
  }

  /** Every access token is refused as expired from now on, even those whose `exp` is in the future. */
  expireAccessToken(): void {
    this.#family.expireAccess()
  }

  /** Ends the login for good: no token of it works any more, the refresh token neither. Personal ones end too. */
  revoke(): void {
    this.#family.revoke()
    for (const token of this.#accessTokens.keys()) this.#accessTokens.set(token, 'revoked')
  }

  /** A new login; `authJson()` gives its tokens. Older logins live on unless they were revoked. */
  login(): void {
    this.#family = this.#newFamily()
  }

  /** Fills a window. `resetsAt` in ms since 1970; without it the reset stays where it was. */
  exhaust(options: { resetsAt?: number; window?: WindowName } = {}): void {
    const { resetsAt, window = 'primary' } = options
    this.window(window, resetsAt === undefined ? { usedPercent: 100 } : { usedPercent: 100, resetsAt })
  }

  /** Changes a window; one that the plan did not have is opened. */
  window(name: WindowName, change: Partial<CodexWindow>): void {
    roll(this.windows, this.#now())
    this.windows[name] = openWindow(name, { ...this.windows[name], ...change }, this.#now())
  }

  /** What one of this account's access tokens is worth; `undefined` for a token of somebody else. */
  stateOf(accessToken: string): TokenState | undefined {
    for (const family of this.#families) {
      const state = family.stateOf(accessToken, this.#now())
      if (state) return state
    }
    return this.#accessTokens.get(accessToken)
  }

  /** The login that a refresh token belongs to. */
  familyOf(refreshToken: string): TokenFamily | undefined {
    return this.#families.find((family) => family.owns(refreshToken))
  }

  #newFamily(): TokenFamily {
    const expiresAt = this.#now() + this.accessTokenLifetimeMs
    const family = new TokenFamily((expiresAt) => mintTokens(this, expiresAt, this.#now()), expiresAt)
    this.#families.push(family)
    return family
  }
}
