import type { IncomingHttpHeaders } from 'node:http'

/**
 * A parsed credential file. Its fields belong to the provider, not to us, so they are not typed here:
 * `unknown` would make every one-line `authorize` of a user's own need a cast.
 */
export type Credential = Record<string, any>

/** What a provider's functions see of the client's request. Read only. */
export interface ClientRequest {
  readonly method: string
  /** Path and query, without the mount path and the access key. */
  readonly url: string
  /** Path alone, without the query. */
  readonly path: string
  /** The matched route's prefix. */
  readonly prefix: string
  /** Lower-case names. */
  readonly headers: IncomingHttpHeaders
  /** Says apart the people who share one gateway: a hash of the access key, or `local`. */
  readonly client: string
  /**
   * The parsed JSON body, decompressed if need be; `undefined` while none has been read, and for a body that is not
   * JSON or is larger than `maxReplayBytes`. Parsed at the first call, which is costly: look at the headers first.
   */
  json(): unknown
}

/** What a provider finds in a credential file. */
export interface Inspection {
  /** Who this is upstream (an account id), to recognise the caller's own account. Never a secret. */
  identity?: string | undefined
  /** E-mail or name, shown in `/admin/accounts`. */
  label?: string | undefined
  plan?: string | undefined
  /** What kind of credential it is, for people: `chatgpt`, `api-key`. */
  kind?: string | undefined
  /** When the access token ends; ms since 1970. Unknown for opaque tokens and API keys. */
  expiresAt?: number | undefined
  /** Whether `refresh` can renew it. @default false */
  refreshable?: boolean
  /**
   * A fingerprint (hash) of what `refresh` would present. Two files with the same one are one login, and a single-use
   * refresh token that has been presented once is never presented again.
   */
  login?: string | undefined
  /**
   * Held back while other accounts can serve: `when-exhausted` until no other is available, `when-alone` unless the
   * provider has no other account. @default undefined (a full member of the pool)
   */
  standby?: 'when-exhausted' | 'when-alone' | undefined
}

/** An account as its provider sees it. */
export interface ProviderAccount {
  readonly id: string
  readonly credential: Credential
  readonly inspection: Inspection
  /** What `discover` found out. */
  readonly facts: Readonly<Record<string, string>>
}

/** An account as `answer` sees it: its state, never its credential. */
export interface PoolAccount {
  readonly id: string
  readonly inspection: Inspection
  readonly state: AccountState
  readonly facts: Readonly<Record<string, string>>
  readonly quota: Quota
  /** When it can be used again; ms since 1970. */
  readonly availableAt?: number | undefined
}

export type AccountState = 'ready' | 'cooling' | 'exhausted' | 'needs-login' | 'disabled'

/** One quota window. What is not known is `undefined`, never 0. */
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

export interface Credits {
  readonly hasCredits: boolean
  readonly unlimited: boolean
  readonly balance?: string | undefined
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

/** A JSON answer of the gateway's own. */
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON; none when left out. */
  readonly body?: unknown
}

/** An upstream answer before anything of it has reached the client. */
export interface UpstreamAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The decoded body of a refusal, up to 64 KiB; empty for a success. */
  readonly body: string
  /** `body` parsed; `undefined` if it is not JSON. */
  json(): unknown
}

/**
 * What the provider makes of an upstream answer.
 * - `pass`: goes to the client as it is: a success, or a refusal of the request itself.
 * - `unavailable`: the upstream is in trouble; another account may be tried, none is to blame.
 * - `cooling`: this account (or this account for one model) should rest, for `retryAfterMs` if known.
 * - `exhausted`: its quota is used up, until `resetsAt` if known.
 * - `unauthorized`: the access token was refused: refresh once and replay.
 * - `refused`: this account cannot serve this model or path; the next one is asked.
 * - `needs-login`: only the user can help.
 * - `repair`: the request holds something that only another account can read; `body` is its JSON without that. It is
 *   sent once more to the same account; a second such verdict is a `pass`.
 */
export type Verdict =
  | { readonly kind: 'pass' }
  | { readonly kind: 'unavailable'; readonly reason: string; readonly retryAfterMs?: number | undefined }
  | {
      readonly kind: 'cooling'
      readonly reason: string
      readonly retryAfterMs?: number | undefined
      readonly model?: string | undefined
    }
  | {
      readonly kind: 'exhausted'
      readonly reason: string
      /** ms since 1970 */
      readonly resetsAt?: number | undefined
      readonly model?: string | undefined
      readonly plan?: string | undefined
    }
  | { readonly kind: 'unauthorized'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string; readonly model?: string | undefined }
  | { readonly kind: 'needs-login'; readonly reason: string }
  | { readonly kind: 'repair'; readonly reason: string; readonly body: unknown }

/** Why the gateway answers in place of an upstream. */
export interface Failure {
  readonly status: number
  /** Stable, for programs. */
  readonly code: string
  /** For people: what happened and the way out. No secret. */
  readonly message: string
  readonly retryAfterMs?: number | undefined
}

/** Every usable account is exhausted. */
export interface Exhaustion {
  /** Earliest known reset; ms since 1970. */
  readonly resetsAt?: number | undefined
  readonly plan?: string | undefined
  readonly model?: string | undefined
}

/** What a provider needs to call its upstream on its own account. */
export interface CallContext {
  /** `fetch` through the provider's proxy, if it has one. */
  readonly fetch: typeof globalThis.fetch
  readonly signal: AbortSignal
}

/** Which requests belong together, and to whom. */
export interface Conversation {
  /** Requests with the same id, or an alias of it, stay on one account. */
  readonly id: string
  readonly aliases?: readonly string[]
  /** The `identity` of the account it should go to if the pool has it: the caller's own. */
  readonly owner?: string | undefined
  /** Whether only the owner's account will do; 403 otherwise. @default false */
  readonly ownerOnly?: boolean
}

/** Fields of a token endpoint's answer. They are the issuer's, so they are not typed here. */
export type TokenAnswer = Readonly<Record<string, unknown>>

/** An authorization code, and what a token endpoint asks for beside it. */
export interface CodeGrant {
  readonly code: string
  /** PKCE's `code_verifier` (RFC 7636). */
  readonly verifier: string
  readonly redirectUri: string
}

/**
 * What has become of a device code.
 * - `pending`: nobody has entered it yet.
 * - `granted`: to be redeemed at the token endpoint.
 * - `refused`: never, and why.
 */
export type DeviceProgress =
  | { readonly kind: 'pending' }
  | ({ readonly kind: 'granted' } & CodeGrant)
  | { readonly kind: 'refused'; readonly reason: string }

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
  /** Asks once. What it throws is taken as passing trouble. */
  poll(context: CallContext): Promise<DeviceProgress>
}

/** How a person logs in: OAuth's authorization code with PKCE, the browser being sent back to this machine (RFC 8252). */
export interface LoginFlow {
  /** What the issuer calls itself: a callback that names another one is refused (RFC 9207). */
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
  /** Where on 127.0.0.1 the issuer sends the browser. Port 0 takes a free one, for issuers that allow any. */
  readonly callback: { readonly port: number; readonly path: string }
  /** Whether a refresh token works only once, so that two holders of one login lock each other out. @default false */
  readonly singleUse?: boolean
  /** The credential file that a token endpoint's answer makes; a string says why it makes none. */
  credential(answer: TokenAnswer): Credential | string
  /** Asks for a device code. @throws with the way out if there are none */
  device?(context: CallContext): Promise<DeviceCode>
}

/**
 * One kind of upstream. Only `upstream` and `authorize` are required; the built-in providers implement this type and
 * nothing else.
 */
export interface Provider {
  /** Base address; `https:`, or loopback. */
  readonly upstream: string
  /**
   * The headers that let `credential` in. Their names are stripped from the client's request first. May be async.
   * An error thrown here puts the account aside until its file changes.
   */
  authorize(context: {
    readonly credential: Credential
    readonly model: string | undefined
    readonly request: ClientRequest
    /** What `discover` found out. @default none */
    readonly facts?: Readonly<Record<string, string>>
  }): Record<string, string | undefined> | Promise<Record<string, string | undefined>>

  /** Which files of the pool are accounts of this provider: a glob on the file name. @default `NAME_*.json` */
  readonly credentials?: string
  /**
   * Looks into a credential file. A string is the reason why it cannot be used (shown to the user, so no secret).
   * @default every JSON object is an account
   */
  inspect?(credential: Credential): Inspection | string
  /**
   * The upstream's path and query for a request, appended to `upstream`; or a whole address that replaces it.
   * @default the client's, without the route's prefix
   */
  path?(request: ClientRequest, account: ProviderAccount): string
  /** Which conversation a request belongs to. @default every request is on its own */
  conversation?(request: ClientRequest): string | Conversation | undefined
  /** Which model a request is for. @default the `model` of a JSON body */
  model?(request: ClientRequest): string | undefined
  /** Whether an account can serve a request at all. @default true */
  serves?(account: ProviderAccount, request: ClientRequest): boolean
  /**
   * Whether a POST may be sent to a second account after the first may have received it: a generation may be billed
   * twice, but a task must not be created twice. GET and HEAD always may. @default known paths of generation APIs
   */
  replayable?(request: ClientRequest): boolean
  /** Rewrites the JSON body for the chosen account; with this, a request's body is always buffered. */
  rewriteBody?(body: unknown, account: ProviderAccount, request: ClientRequest): unknown
  /**
   * Facts about an account that need a call upstream; asked once, then kept. Values are not secret. On an error with
   * `status: 401` the token is renewed and the call made once more.
   */
  discover?(account: ProviderAccount, context: CallContext): Promise<Record<string, string>>
  /**
   * Files, absolute, in which the client itself keeps a login, in the form of the pool's files. A pool file is often a
   * copy of one, and with single-use refresh tokens the two must change together.
   */
  readonly clientFiles?: readonly string[]
  /** Top-level fields of a file that make up the login; what else stands in a file is its own. @default all */
  readonly loginFields?: readonly string[]
  /**
   * Renews a credential. Throw {@link CredentialRejected} if only a new login helps; anything else thrown is taken as
   * passing trouble. `expiresAt` in ms since 1970.
   */
  refresh?(
    credential: Credential,
    context: CallContext,
  ): Promise<{ credential: Credential; expiresAt?: number | undefined }>
  /** How `codex-pool login NAME` makes a credential. @default only `codex-pool add FILE` does */
  readonly login?: LoginFlow
  /** Judges an upstream answer. @default by status, `Retry-After` honoured */
  classify?(answer: UpstreamAnswer, request: ClientRequest): Verdict
  /**
   * Judges the first events of a 200 stream: a verdict, `output` once the answer has begun, `undefined` if too early.
   * `request` tells the model, for limits that count one model only.
   */
  classifyEvent?(event: unknown, request?: ClientRequest): Verdict | 'output' | undefined
  /**
   * For a client that gives up a stream on which no event arrives for too long: `event` is an event of the stream's own
   * form that the client ignores, sent whenever an answer has been held back for `afterMs`. @default none is sent
   */
  readonly keepAlive?: { readonly afterMs: number; readonly event: string }
  /**
   * The failing end of a stream whose head has been sent already: `answer` (what the client would have got instead of a
   * stream) as text of the stream's own form, such as `data: {"error":…}\n\n`. @default the connection is broken off
   */
  streamFailure?(answer: Answer, request: ClientRequest): string
  /**
   * Whether a request uses up quota. One that does not is sent to exhausted accounts too.
   * @default true for POST on known paths of generation APIs, else false
   */
  usesQuota?(request: ClientRequest): boolean
  /** The tokens that a JSON answer or a stream event names; the last one of a stream counts. */
  usage?(payload: unknown): Usage | undefined
  /** Only stream events that contain this text are parsed for `usage` and `aliases`. @default `"usage` */
  readonly usageMarker?: string
  /**
   * More ids of the conversation that an answer belongs to, from the payloads that `usage` sees: a later request whose
   * `conversation` is one of them goes to the account that gave this answer. @default none
   */
  aliases?(payload: unknown): readonly string[] | undefined
  /** Quota as response headers tell it. */
  quota?(headers: IncomingHttpHeaders): Quota | undefined
  /** Asks the upstream for an account's quota; polled about every five minutes. */
  pollQuota?(account: ProviderAccount, context: CallContext): Promise<Quota | undefined>
  /**
   * Redeems the reset credit that expires soonest, for `codex-pool accounts redeem`; never called by itself.
   * @returns the quota after it, if the answer tells it
   * @throws with the reason if there is none, or the upstream refuses
   */
  redeem?(account: ProviderAccount, context: CallContext): Promise<Quota | undefined>
  /** How to read WebSocket messages. Without it they pass unread, on every path. */
  readonly socket?: SocketProtocol
  /** Names of headers whose value is an account's own: what one account issued goes back to that account only. */
  readonly boundHeaders?: readonly string[]
  /** Response headers that must not reach the client. `set-cookie` never does. */
  readonly hiddenHeaders?: readonly string[]
  /**
   * Headers of an answer that tell one account's quota, with the pool's in its place: a client that shows its user what
   * is left would else show another number with every change of account. By lower-case name; `undefined` takes one out.
   */
  poolHeaders?(
    headers: IncomingHttpHeaders,
    accounts: readonly PoolAccount[],
    now: number,
  ): Readonly<Record<string, string | undefined>>
  /** Answers a request without an upstream. */
  answer?(
    request: ClientRequest,
    pool: { readonly accounts: readonly PoolAccount[]; readonly now: number },
  ): Answer | undefined
  /**
   * For a GET whose answer differs from account to account but must speak for the pool: makes one answer of what all
   * accounts answered (parsed JSON of status 200, at least one); `undefined` if that cannot be. @default one account's
   */
  merge?(request: ClientRequest): ((answers: readonly unknown[]) => unknown) | undefined
  /** "Every account is exhausted", in the client's own words. @default 429 */
  exhausted?(exhaustion: Exhaustion, request: ClientRequest): Answer
  /** Any other failure of the gateway's own, in the shape that the client parses. @default OpenAI's error shape */
  failure?(failure: Failure, request: ClientRequest): Answer
}

/** The messages of a provider's WebSockets, as parsed JSON. Text messages only; binary ones always pass unread. */
export interface SocketProtocol {
  /** Which upgrades are served; others are answered 426. @default all */
  serves?(request: ClientRequest): boolean
  /** What a client's message begins: a response of `model`, which counts as use unless it only warms up. */
  begins(message: unknown): { readonly model?: string | undefined; readonly counts: boolean } | undefined
  /** Whether the response that runs is over with this message of the upstream. */
  ends(message: unknown): boolean
  /** Types (`type` field) of the upstream's messages that are parsed once output has begun; before that, all are. */
  readonly reads: ReadonlySet<string>
  /** Quota as a message tells it. */
  quota?(message: unknown): Quota | undefined
  /** The same message with the pool's quota in place of one account's. */
  withPoolQuota?(message: unknown, accounts: readonly PoolAccount[], now: number): unknown
  /** The values of `boundHeaders` that a message carries, either way. */
  bound?(message: unknown): Readonly<Record<string, string>>
  /** A client's message without these bound values. */
  withoutBound?(message: unknown, names: readonly string[]): unknown
  /** Makes the client connect again and send everything again, unseen by its user. */
  readonly reconnect: unknown
  /** "Every account is exhausted", in the client's own words. */
  exhausted(exhaustion: Exhaustion): unknown
}

/** Thrown by a provider's `refresh` or `discover` when the upstream will not accept this credential any more. */
export class CredentialRejected extends Error {
  constructor(
    /** The upstream's own code, such as `refresh_token_reused`. */
    readonly code: string,
    message: string = code,
  ) {
    super(message)
    this.name = 'CredentialRejected'
  }
}
