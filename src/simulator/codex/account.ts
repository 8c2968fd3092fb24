import { randomBytes } from 'node:crypto'
import { PromptCache } from '../model.js'
import { CODEX_CLIENT_ID, type CodexTokens, Logins, type TokenState } from './logins.js'
import {
  type CodexCredits,
  type CodexWindow,
  type CodexWindows,
  type ModelLimit,
  type ModelLimitOptions,
  openModelLimit,
  openWindow,
  openWindows,
  roll,
  type WindowName,
} from './quota.js'
import { openResetCredit, type ResetCredit, type ResetCreditOptions } from './quota.js'

export interface CodexAccountOptions {
  /** Name in tests and of the credential file, without `.json`. */
  id: string
  /** As in the token: `plus`, `pro`, `team`, `business`, `enterprise`, `edu`. @default 'plus' */
  plan?: string
  /** The ChatGPT workspace; colleagues share it, and each is a user of their own (`user-ID`). @default `acct-ID` */
  accountId?: string
  /** @default `ID@example.com` */
  email?: string
  /** @default 0 % of 300 minutes */
  primary?: Partial<CodexWindow>
  /** `false`: the plan has one window only. @default 0 % of 10080 minutes */
  secondary?: Partial<CodexWindow> | false
  /** Credits beyond the plan: they pay once a window is full. @default none */
  credits?: Partial<CodexCredits>
  /** Credits that empty the windows when they are redeemed. @default none */
  resetCredits?: readonly ResetCreditOptions[]
  /** Models with a quota of their own, such as Spark. @default none */
  modelLimits?: readonly ModelLimitOptions[]
  /** The name of the account's own limit in `x-codex-active-limit`; `premium` is seen too. @default 'codex' */
  limitId?: string
  /** Serves although a window is full, as reports of the real upstream lag. @default false */
  servesWhenFull?: boolean
  /** Models that the account may use. @default all */
  models?: string[]
  /** Life of an access token; ms. @default 864000000 (10 days, as the real issuer's) */
  accessTokenLifetimeMs?: number
  /** The OAuth client that issued the login; the issuer refuses a refresh by another. @default the Codex CLI's */
  clientId?: string
}

/** An `auth.json` of the Codex CLI. */
export interface AuthJson {
  auth_mode: 'chatgpt'
  OPENAI_API_KEY: null
  /** A login that another client made holds `oauth_provenance: { issuer, client_id }` too. */
  tokens: CodexTokens & { account_id: string }
  last_refresh: string
}

/** A ChatGPT account. Its fields may be changed at any time. */
export class CodexAccount {
  readonly id: string
  readonly accountId: string
  readonly userId: string
  readonly email: string
  readonly clientId: string
  plan: string
  models: string[] | undefined
  credits: CodexCredits
  windows: CodexWindows
  modelLimits: ModelLimit[]
  resetCredits: ResetCredit[]
  limitId: string
  servesWhenFull: boolean
  accessTokenLifetimeMs: number
  /** Refreshes that worked. */
  refreshes = 0
  /** Times that a spent refresh token was presented. */
  reuses = 0
  readonly cache = new PromptCache()
  readonly #now: () => number
  readonly #logins: Logins
  readonly #personalTokens = new Map<string, TokenState>()

  constructor(options: CodexAccountOptions, now: () => number) {
    this.#now = now
    this.id = options.id
    this.accountId = options.accountId ?? `acct-${options.id}`
    this.userId = `user-${options.id}`
    this.email = options.email ?? `${options.id}@example.com`
    this.clientId = options.clientId ?? CODEX_CLIENT_ID
    this.plan = options.plan ?? 'plus'
    this.models = options.models
    this.credits = { hasCredits: false, unlimited: false, balance: '0', perRequest: 1, ...options.credits }
    this.windows = openWindows(options.primary, options.secondary, now())
    this.modelLimits = (options.modelLimits ?? []).map((limit) => openModelLimit(limit, now()))
    this.resetCredits = (options.resetCredits ?? []).map((credit) => openResetCredit(credit, now()))
    this.limitId = options.limitId ?? 'codex'
    this.servesWhenFull = options.servesWhenFull ?? false
    this.accessTokenLifetimeMs = options.accessTokenLifetimeMs ?? 864_000_000
    this.#logins = new Logins(this, this.accessTokenLifetimeMs, now)
  }

  get accessToken(): string {
    return this.#logins.tokens.access_token
  }

  get refreshToken(): string {
    return this.#logins.tokens.refresh_token
  }

  /**
   * The file that `codex login` would have left now. `expired` and `expiresInMs` put another access token in, with that
   * `exp`; the refresh token is the current one, so two files of one account are two copies of one login.
   */
  authJson(options: { expired?: boolean; expiresInMs?: number } = {}): AuthJson {
    const expiresInMs = options.expired ? -60_000 : options.expiresInMs
    const oauth_provenance = { issuer: 'https://auth.openai.com', client_id: this.clientId }
    const tokens = {
      ...this.#logins.tokens,
      account_id: this.accountId,
      ...(this.clientId === CODEX_CLIENT_ID ? {} : { oauth_provenance }),
    }
    if (expiresInMs !== undefined) tokens.access_token = this.#logins.mintAccess(expiresInMs)
    const last_refresh = new Date(this.#now()).toISOString()
    return { auth_mode: 'chatgpt', OPENAI_API_KEY: null, tokens, last_refresh }
  }

  /** The file of `codex login --with-access-token`, with a new personal access token. */
  accessTokenJson(): { OPENAI_API_KEY: null; personal_access_token: string } {
    const token = `at-sim-${this.id}-${randomBytes(12).toString('base64url')}`
    this.#personalTokens.set(token, 'valid')
    return { OPENAI_API_KEY: null, personal_access_token: token }
  }

  /** Every access token is refused as expired from now on, even those whose `exp` is in the future. */
  expireAccessToken(): void {
    this.#logins.expireAccess()
  }

  /** Ends the login for good: every token of it is refused, the refresh token too. Personal tokens end too. */
  revoke(): void {
    this.#logins.revoke()
    for (const token of this.#personalTokens.keys()) this.#personalTokens.set(token, 'revoked')
  }

  /** A new login; `authJson()` gives its tokens. Older logins live on unless they were revoked. */
  login(): void {
    this.#logins.begin(this.accessTokenLifetimeMs)
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

  /** The state of one of this account's access tokens; `undefined` for a token of another account. */
  stateOf(accessToken: string): TokenState | undefined {
    return this.#logins.stateOf(accessToken) ?? this.#personalTokens.get(accessToken)
  }

  /** Whether a refresh token, spent or not, is of this account. */
  owns(refreshToken: string): boolean {
    return this.#logins.owns(refreshToken)
  }

  /** Trades a refresh token of this account for new tokens, and counts. */
  refresh(refreshToken: string): CodexTokens | 'reused' | 'revoked' {
    const outcome = this.#logins.refresh(refreshToken, this.accessTokenLifetimeMs)
    if (outcome === 'reused') this.reuses += 1
    else if (outcome !== 'revoked') this.refreshes += 1
    return outcome
  }
}
