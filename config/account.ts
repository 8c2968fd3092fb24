/**
 * A parsed credential file. Its fields belong to the provider, so they are not typed here: with `unknown` every one-line
 * `authorize` in a user's config would need a cast.
 */
export type Credential = Record<string, any>

/** The account that a provider finds in a credential file. */
export interface Inspection {
  /**
   * The person's id upstream, by which the caller's own account is recognised. It differs between two people who share a
   * workspace. Never a secret.
   */
  identity?: string | undefined
  /** The id of a workspace that several people may share; equal to `identity` while the person is not known. */
  workspace?: string | undefined
  /** E-mail or name, shown in `/admin/accounts`. */
  label?: string | undefined
  plan?: string | undefined
  /** The kind of credential, for people: `chatgpt`, `api-key`. */
  kind?: string | undefined
  /** When the access token ends; ms since 1970. Unknown for opaque tokens and API keys. */
  expiresAt?: number | undefined
  /** Whether `refresh` can get it a new token. @default false */
  refreshable?: boolean
  /**
   * A fingerprint (hash) of the refresh token. Two files with the same fingerprint are one login, and a
   * single-use refresh token that has been presented once is never presented again.
   */
  login?: string | undefined
  /**
   * The account's {@link AccountEntry.order} where the configuration names none. `when-needed`: it serves only requests
   * that no other account can ever serve; `when-alone`: only if the provider has no other account. @default 1
   */
  order?: number | 'when-needed' | 'when-alone' | undefined
}

/** How an account is used. The configuration names it by its id, or by a pattern for ids. */
export interface AccountEntry {
  /**
   * Accounts of a higher order serve only while none of a lower order can. A conversation that one of them serves stays
   * there until it begins anew. @default 1; an OpenAI API key: as `apiKeys` says
   */
  order?: number
  /** Percent of each quota window that are used only while no other account of the same order can serve. @default 0 */
  reserve?: number
  /**
   * Requests, and responses on WebSockets, that run at once. Another one waits for `retry.NAME.waitForSlotMs`, and is
   * then sent to another account. @default any number
   */
  concurrency?: number
  /** Proxy for this account's requests and token calls. @default the provider's */
  proxy?: string
  /** A name of your own, which strategies see. @default none */
  group?: string
}

/** The means for a provider's own calls to its upstream. */
export interface CallContext {
  /** `fetch` through the provider's proxy, if it has one. */
  readonly fetch: typeof globalThis.fetch
  readonly signal: AbortSignal
}

/** How a person logs in: OAuth's authorization code with PKCE, the browser being sent back to this machine (RFC 8252). */
export interface LoginFlow {
  /** The issuer's name for itself: a callback that names another one is refused (RFC 9207). */
  readonly issuer: string
  /** The page that asks the person. */
  readonly authorizeUrl: string
  readonly tokenUrl: string
  readonly clientId: string
  /** Of an installed app, so public. @default none */
  readonly clientSecret?: string
  readonly scope: string
  /** More query parameters of `authorizeUrl`. @default none */
  readonly parameters?: Readonly<Record<string, string>>
  /** Port and path on 127.0.0.1 to which the issuer sends the browser. Port 0 takes a free one, where any is allowed. */
  readonly callback: { readonly port: number; readonly path: string }
  /** Whether a refresh token works only once, so that two holders of one login lock each other out. @default false */
  readonly singleUse?: boolean
  /** The credential file that a token endpoint's answer makes; a string says why it makes none. */
  credential(answer: TokenAnswer): Credential | string
  /** Asks for a device code. @throws with the way out if there are none */
  device?(context: CallContext): Promise<DeviceCode>
}

/** Fields of a token endpoint's answer. They are the issuer's, so they are not typed here. */
export type TokenAnswer = Readonly<Record<string, unknown>>

/** An authorization code, with the other values that a token endpoint needs. */
export interface CodeGrant {
  readonly code: string
  /** PKCE's `code_verifier` (RFC 7636). */
  readonly verifier: string
  readonly redirectUri: string
}

/** A code that a person enters in a browser on any machine. */
export interface DeviceCode {
  /** Where it is entered. */
  readonly page: string
  /** For the person to read; no secret without the page. */
  readonly code: string
  /** How often `poll` may be called; ms. */
  readonly intervalMs: number
  /** ms since 1970 */
  readonly expiresAt: number
  /** Asks once. A throw counts as a passing failure, and the code is asked for again. */
  poll(context: CallContext): Promise<DeviceProgress>
}

/**
 * How far a device code is.
 * - `pending`: it has not been entered yet.
 * - `granted`: to be redeemed at the token endpoint.
 * - `refused`: it will not be granted, and why.
 */
export type DeviceProgress =
  | { readonly kind: 'pending' }
  | ({ readonly kind: 'granted' } & CodeGrant)
  | { readonly kind: 'refused'; readonly reason: string }

/** An account as its provider sees it. */
export interface ProviderAccount {
  readonly id: string
  readonly credential: Credential
  readonly inspection: Inspection
  /** Facts that `discover` found. */
  readonly facts: Readonly<Record<string, string>>
}

/** An account as the pool's own answers show it: its state, never its credential. */
export interface PoolAccount {
  readonly id: string
  readonly inspection: Inspection
  /** Its `order`; `Infinity` for one that serves only what no other account can. */
  readonly order: number
  readonly state: AccountState
  readonly facts: Readonly<Record<string, string>>
  readonly quota: Quota
  /** When it can be used again; ms since 1970. */
  readonly availableAt?: number | undefined
}

export type AccountState = 'ready' | 'cooling' | 'exhausted' | 'needs-login' | 'disabled'

/** One quota window. An unknown value is `undefined`, never 0. */
export interface QuotaWindow {
  /** Unique within the account: `primary`, `secondary`, or a model's name. */
  readonly name: string
  /** The only model it counts, if it does not count all. */
  readonly model?: string | undefined
  /** 0 to 100. */
  readonly usedPercent?: number | undefined
  readonly lengthMinutes?: number | undefined
  /** ms since 1970. */
  readonly resetsAt?: number | undefined
}

export type CreditsUse = 'never' | 'last' | 'freely'

export interface Credits {
  readonly hasCredits: boolean
  readonly unlimited: boolean
  readonly balance?: string | undefined
  /**
   * Whether an account whose windows are full is used on its credits: `never`, `last` (only while no account with quota
   * of its plan is left), or `freely`. @default 'last'
   */
  readonly use?: CreditsUse | undefined
}

export interface Quota {
  readonly windows: readonly QuotaWindow[]
  readonly plan?: string | undefined
  readonly credits?: Credits | undefined
  /** Reset credits: each empties the windows once, if the account's owner redeems it. */
  readonly resets?: readonly ResetCredit[] | undefined
}

export interface ResetCredit {
  readonly id: string
  /** ms since 1970 */
  readonly expiresAt?: number | undefined
}

/** Tokens of one response, as the upstream counted them. */
export interface Usage {
  readonly inputTokens?: number | undefined
  readonly cachedTokens?: number | undefined
  readonly outputTokens?: number | undefined
  readonly reasoningTokens?: number | undefined
  readonly totalTokens?: number | undefined
}

/** A window as a strategy sees it. Once its reset has passed, only its name, its model and its length are known. */
export interface CandidateWindow extends QuotaWindow {
  /** When it was reported; ms since 1970. The age of the report is `context.now - seenAt`. */
  readonly seenAt: number
  /** Use since that report, which it does not show yet. Counted from the gateway's start on. */
  readonly since: SinceReport
}

export interface SinceReport {
  /** Requests that have ended since the report; those that still run are in `inFlight`. */
  readonly requests: number
  /** Tokens of those requests, as the upstream counted them. */
  readonly tokens: number
}

/** An account as a strategy sees it. */
export interface Candidate {
  /** The credential file's name without `.json`. */
  readonly id: string
  readonly provider: string
  readonly plan: string | undefined
  /** As declared under `accounts`. */
  readonly group: string | undefined
  /** As declared under `accounts`; all accounts that are offered have the same. */
  readonly order: number
  /** Requests in flight on it now. */
  readonly inFlight: number
  /** Used percent of its fullest window for this model, 0 to 100; `undefined` (not 0) if none is known. */
  readonly usedPercent: number | undefined
  /** Those that count for this model. */
  readonly windows: readonly CandidateWindow[]
  /** ms since 1970. */
  readonly lastUsedAt: number | undefined
}

export interface StrategyContext {
  /** Hash of the conversation's id; `undefined` for a request that belongs to none. */
  readonly conversation: string | undefined
  readonly model: string | undefined
  /** The matched route's prefix. */
  readonly route: string
  /** 1 for the first account that is tried. */
  readonly attempt: number
  /** ms since 1970. */
  readonly now: number
}

/**
 * Picks one of the accounts that can serve now and have not been tried: never an empty list. Must return one of them (or
 * a copy, known by its id) at once, or `undefined` for the first. A promise, an id, anything else or a throw is answered
 * 500 `strategy_failed`.
 */
export type Strategy<A extends Candidate = Candidate> = (
  accounts: readonly A[],
  context: StrategyContext,
) => A | undefined
