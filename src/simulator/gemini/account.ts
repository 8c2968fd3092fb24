import { randomBytes } from 'node:crypto'
import { jwt } from '../jwt.js'
import { type GeminiBucket, openBuckets } from './quota.js'

/**
 * What an account is to Code Assist. `retired`: Google refuses this client for it; `unverified`: the person has to
 * confirm who they are in a browser first.
 */
export type GeminiTier = 'free-tier' | 'legacy-tier' | 'standard-tier' | 'retired' | 'unverified'

export interface GeminiAccountOptions {
  /** Name in tests; its credential file is `gemini_ID.json`. */
  id: string
  /** @default 'standard-tier' */
  tier?: GeminiTier
  /** The only project that its token opens. @default `project-ID` */
  project?: string
  /** `false`: it has no project before `onboardUser`. @default true */
  onboarded?: boolean
  /** @default `ID@example.com` */
  email?: string
  /** Models that it may use, each with a quota of its own. @default {@link MODELS} */
  models?: readonly string[]
  /** Life of an access token; ms. @default 3599000, as Google's */
  accessTokenLifetimeMs?: number
}

/** An `oauth_creds.json` of the Gemini CLI. */
export interface OAuthCreds {
  access_token: string
  refresh_token: string
  scope: string
  token_type: 'Bearer'
  id_token: string
  /** ms since 1970 */
  expiry_date: number
}

export const SCOPE =
  'https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email openid'

/** A Google account at Code Assist. What it says about itself may be changed at any time. */
export class GeminiAccount {
  readonly id: string
  readonly project: string
  readonly email: string
  tier: GeminiTier
  onboarded: boolean
  accessTokenLifetimeMs: number
  /** By model. */
  readonly buckets: Map<string, GeminiBucket>
  /** Refreshes that worked. */
  refreshes = 0
  /** Whether it lets Google learn from its prompts. */
  dataCollection = true
  /** Tokens of the last prompt of each conversation: what the implicit cache would still hold. */
  readonly cache = new Map<string, number>()
  readonly #now: () => number
  readonly #access = new Map<string, number>()
  #revoked = false
  #accessToken: string
  #refreshToken: string

  constructor(options: GeminiAccountOptions, now: () => number) {
    this.#now = now
    this.id = options.id
    this.project = options.project ?? `project-${options.id}`
    this.email = options.email ?? `${options.id}@example.com`
    this.tier = options.tier ?? 'standard-tier'
    this.onboarded = options.onboarded ?? true
    this.accessTokenLifetimeMs = options.accessTokenLifetimeMs ?? 3_599_000
    this.buckets = openBuckets(options.models, now())
    this.#refreshToken = this.#random('1//sim')
    this.#accessToken = this.mintAccess()
  }

  get accessToken(): string {
    return this.#accessToken
  }

  /** Google does not rotate it. */
  get refreshToken(): string {
    return this.#refreshToken
  }

  /** What the Gemini CLI would have stored. `expired` and `expiresInMs` put another access token in. */
  oauthCreds(options: { expired?: boolean; expiresInMs?: number } = {}): OAuthCreds {
    const expiresInMs = options.expired ? -60_000 : options.expiresInMs
    const access_token = expiresInMs === undefined ? this.#accessToken : this.mintAccess(expiresInMs)
    const expiry_date = this.#access.get(access_token) ?? 0
    const shared = { scope: SCOPE, token_type: 'Bearer' as const, id_token: this.idToken() }
    return { access_token, refresh_token: this.#refreshToken, ...shared, expiry_date }
  }

  /** Every access token is refused from now on, whatever its `expiry_date` says. */
  expireAccessToken(): void {
    for (const token of this.#access.keys()) this.#access.set(token, 0)
  }

  /** Ends the login for good: the refresh token is answered `invalid_grant`. */
  revoke(): void {
    this.#revoked = true
  }

  /** A new login; `oauthCreds()` gives its tokens. */
  login(): void {
    this.#revoked = false
    this.#access.clear()
    this.#refreshToken = this.#random('1//sim')
    this.#accessToken = this.mintAccess()
  }

  /** Uses up the quota of one model, or of all. `resetsAt` in ms since 1970. */
  exhaust({ model, resetsAt }: { model?: string; resetsAt?: number } = {}): void {
    for (const [name, bucket] of this.buckets) {
      if (model !== undefined && model !== name) continue
      bucket.remainingFraction = 0
      bucket.resetsAt = resetsAt ?? bucket.resetsAt
    }
  }

  /** What a token is worth; `undefined` for a token of somebody else. */
  stateOf(accessToken: string): 'valid' | 'expired' | undefined {
    const expiresAt = this.#access.get(accessToken)
    if (expiresAt === undefined) return undefined
    return this.#revoked || this.#now() >= expiresAt ? 'expired' : 'valid'
  }

  /** A new access token, or `undefined` for a refresh token that does not work. */
  refresh(refreshToken: string): string | undefined {
    if (this.#revoked || refreshToken !== this.#refreshToken) return undefined
    this.refreshes += 1
    this.#accessToken = this.mintAccess()
    return this.#accessToken
  }

  /** One more access token; older ones live on. */
  mintAccess(lifetimeMs = this.accessTokenLifetimeMs): string {
    const token = this.#random('ya29.sim')
    this.#access.set(token, this.#now() + lifetimeMs)
    return token
  }

  idToken(): string {
    return jwt({ iss: 'https://accounts.google.com', sub: this.id, email: this.email, email_verified: true })
  }

  #random(prefix: string): string {
    return `${prefix}-${this.id}-${randomBytes(9).toString('base64url')}`
  }
}
