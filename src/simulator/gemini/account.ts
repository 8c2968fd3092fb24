import { randomBytes } from 'node:crypto'
import { jwt } from '../json.js'
import { PromptCache } from '../model.js'

export interface GeminiAccountOptions {
  /** Name in tests; its credential file is `gemini_ID.json`. */
  id: string
  /** The only project that its token opens. @default `project-ID` */
  project?: string
  /** @default `ID@example.com` */
  email?: string
  /** Models that it may use, each with a quota of its own. @default {@link MODELS} */
  models?: readonly string[]
  /** Life of an access token; ms. @default 3599000, as Google's */
  accessTokenLifetimeMs?: number
  /** The OAuth client that issued the login; Google refuses a refresh by another. @default that of the simulator */
  client?: OAuthClient
}

/** An OAuth client with its secret. */
export interface OAuthClient {
  readonly id: string
  readonly secret: string
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

/** The quota of one model. All fields may be changed at any time. */
export interface GeminiBucket {
  /** 1 to 0. */
  remainingFraction: number
  /** ms since 1970; when it passes, the bucket is full again. */
  resetsAt: number
  /** Fraction that one request uses up. */
  fractionPerRequest: number
}

/** The models that the Gemini CLI asks for, and some that it only lists. */
export const MODELS: readonly string[] = [
  'gemini-2.5-pro',
  'gemini-2.5-flash',
  'gemini-2.5-flash-lite',
  'gemini-3-flash',
  'gemini-3-flash-preview',
  'gemini-3-pro-preview',
  'gemini-3.1-pro-preview',
  'gemini-3.1-pro-preview-customtools',
  'gemini-3.1-flash-lite',
  'gemini-3.5-flash',
  'gemini-3.5-flash-lite',
  'gemini-3.8-flash',
]

export const SCOPE =
  'https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email openid'

const DAY_MS = 86_400_000

/** A Google account at Code Assist. Its fields may be changed at any time. */
export class GeminiAccount {
  readonly id: string
  readonly email: string
  readonly client: OAuthClient | undefined
  /** May be changed: the former project is refused from then on. */
  project: string
  accessTokenLifetimeMs: number
  /** By model. */
  readonly buckets: Map<string, GeminiBucket>
  /** Refreshes that worked. */
  refreshes = 0
  readonly cache = new PromptCache()
  readonly #now: () => number
  /** When each access token ends; ms since 1970. */
  readonly #access = new Map<string, number>()
  #revoked = false
  #accessToken = ''
  #refreshToken = ''

  constructor(options: GeminiAccountOptions, now: () => number) {
    this.#now = now
    this.id = options.id
    this.project = options.project ?? `project-${options.id}`
    this.email = options.email ?? `${options.id}@example.com`
    this.client = options.client
    this.accessTokenLifetimeMs = options.accessTokenLifetimeMs ?? 3_599_000
    const bucket = () => ({ remainingFraction: 1, resetsAt: now() + DAY_MS, fractionPerRequest: 0.01 })
    this.buckets = new Map((options.models ?? MODELS).map((model) => [model, bucket()]))
    this.login()
  }

  get accessToken(): string {
    return this.#accessToken
  }

  /** Google does not rotate it. */
  get refreshToken(): string {
    return this.#refreshToken
  }

  /** The file that the Gemini CLI would have stored. `expired` and `expiresInMs` put another access token in. */
  oauthCreds(options: { expired?: boolean; expiresInMs?: number } = {}): OAuthCreds {
    const expiresInMs = options.expired ? -60_000 : options.expiresInMs
    const access_token = expiresInMs === undefined ? this.#accessToken : this.mintAccess(expiresInMs)
    const expiry_date = this.#access.get(access_token) ?? 0
    const shared = { scope: SCOPE, token_type: 'Bearer' as const, id_token: this.idToken() }
    return { access_token, refresh_token: this.#refreshToken, ...shared, expiry_date }
  }

  /** The same login as application default credentials, with the client that issued it. */
  adcJson(): object {
    const { id: client_id, secret: client_secret } = this.client ?? { id: 'client', secret: 'secret' }
    return { type: 'authorized_user', client_id, client_secret, refresh_token: this.#refreshToken }
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

  /** The state of a token; `undefined` for a token of another account. */
  stateOf(accessToken: string): 'valid' | 'expired' | undefined {
    const expiresAt = this.#access.get(accessToken)
    if (expiresAt === undefined) return undefined
    return this.#revoked || this.#now() >= expiresAt ? 'expired' : 'valid'
  }

  /** A new access token; `undefined` once the login has ended. */
  refresh(): string | undefined {
    if (this.#revoked) return undefined
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

  /** `aud` is the OAuth client, if one asked for it. */
  idToken(aud?: string): string {
    const person = { sub: this.id, email: this.email, email_verified: true }
    return jwt({ iss: 'https://accounts.google.com', aud, ...person })
  }

  /** The quota of a model now; `undefined` for a model that the account may not use. */
  bucket(model: string): GeminiBucket | undefined {
    const bucket = this.buckets.get(model)
    if (bucket && this.#now() >= bucket.resetsAt) {
      bucket.remainingFraction = 1
      bucket.resetsAt = this.#now() + DAY_MS
    }
    return bucket
  }

  #random(prefix: string): string {
    return `${prefix}-${this.id}-${randomBytes(9).toString('base64url')}`
  }
}
