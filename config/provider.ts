import type { IncomingHttpHeaders } from 'node:http'
import type {
  CallContext,
  Credential,
  Inspection,
  LoginFlow,
  PoolAccount,
  ProviderAccount,
  Quota,
  Usage,
} from './account.js'

export type * from './account.js'

/**
 * One kind of upstream. Only `upstream` and `authorize` are required; the built-in providers implement this type and
 * nothing else. Its members come in five parts, each below with an example.
 *
 * ```ts
 * { upstream: 'https://api.example', authorize: ({ credential }) => ({ 'api-key': credential.key }) }
 * ```
 */
export interface Provider extends CredentialPart, RequestPart, AnswerPart, PoolPart, WebSocketPart {}

/**
 * Credentials: which files are accounts, what a file says of its account, and how a login is kept alive.
 *
 * ```ts
 * credentials: 'acme_*.json',
 * inspect: ({ key, owner }) => (key ? { label: owner } : 'has no "key"'),
 * refresh: async ({ refreshToken }, { fetch, signal }) => ({ credential: await refreshed(refreshToken, fetch, signal) }),
 * ```
 */
export interface CredentialPart {
  /** Which files of the pool are accounts of this provider: a glob on the file name. @default `NAME_*.json` */
  readonly credentials?: string
  /**
   * Looks into a credential file. A string is the reason why it cannot be used (shown to the user, so no secret).
   * @default every JSON object is an account
   */
  inspect?(credential: Credential): Inspection | string
  /**
   * Gets a credential a new token. Throw {@link CredentialRejected} if only a new login helps; any other error counts as a
   * passing failure, and the refresh is tried again later. `expiresAt` in ms since 1970.
   */
  refresh?(
    credential: Credential,
    context: CallContext,
  ): Promise<{ credential: Credential; expiresAt?: number | undefined }>
  /** How `codex-pool login NAME` makes a credential. @default only `codex-pool add FILE` does */
  readonly login?: LoginFlow
  /**
   * Facts about an account that need a call upstream; asked once, then kept. Values are not secret. On an error with
   * `status: 401` the token is refreshed and the call made once more.
   */
  discover?(account: ProviderAccount, context: CallContext): Promise<Record<string, string>>
  /**
   * Files, absolute, in which the client itself keeps a login, in the form of the pool's files. A pool file is often a
   * copy of one, and with single-use refresh tokens the two must change together.
   */
  readonly clientFiles?: readonly string[]
  /** Top-level fields of a file that make up the login; a file's other fields are never copied. @default all */
  readonly loginFields?: readonly string[]
}

/**
 * The request: where it goes, in whose name, and which accounts may serve it.
 *
 * ```ts
 * upstream: 'https://api.acme.example',
 * authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
 * path: ({ url }) => url.replace(/^\/acme/, '/v2'),
 * conversation: ({ headers }) => headers['x-session'] as string | undefined,
 * ```
 */
export interface RequestPart {
  /** Base address; `https:`, or loopback. */
  readonly upstream: string
  /**
   * The headers that let `credential` in; their names are stripped from the client's request first. May be async. An
   * error thrown here, or only `undefined` values, take the account out of service until its file changes. A result
   * that is no object is answered 500 `provider_failed`.
   */
  authorize(context: {
    readonly credential: Credential
    readonly model: string | undefined
    readonly request: ClientRequest
    /** What `discover` found out. @default none */
    readonly facts?: Readonly<Record<string, string>>
  }): AuthorizationHeaders | Promise<AuthorizationHeaders>
  /**
   * The upstream's path and query for a request, appended to `upstream`; or a whole address that replaces it: of the
   * origin of `upstream`, or of one of `hosts`. @default the client's, without the route's prefix
   */
  path?(request: ClientRequest, account: ProviderAccount): string
  /**
   * Whether a request under a route's path is meant for the route's provider, as its head tells. One that is not goes to
   * the next route that covers its path; if no provider claims it, to the first one. @default true
   */
  claims?(request: RequestHead): boolean
  /** Further hosts that a whole address of `path` may name: `api.example` or `api.example:8443`. @default none */
  readonly hosts?: readonly string[]
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
  /**
   * Whether a request uses up quota. One that does not is sent to exhausted accounts too.
   * @default true for POST on known paths of generation APIs, else false
   */
  usesQuota?(request: ClientRequest): boolean
  /** Rewrites the JSON body for the chosen account; with this, a request's body is always buffered. */
  rewriteBody?(body: unknown, account: ProviderAccount, request: ClientRequest): unknown
  /**
   * Puts a request into the only form that the chosen account's upstream takes, and that upstream's events into the form
   * that the client asked for. `body` gives the JSON to start from; it is parsed at the first call. A request whose body
   * has not been kept (`maxReplayBytes`) has none. @default the request goes as it came
   */
  adapt?(request: ClientRequest, account: ProviderAccount, body: () => unknown): Adaptation | undefined
  /**
   * Names of things in a request that only the account which made them can use, such as an uploaded file. Such a
   * request goes to that account, whatever the route's strategy. @default none
   */
  resources?(request: ClientRequest): readonly string[]
  /**
   * Headers of the client's that go upstream, beside those that any API needs (content, accept, conditions, range); one
   * that ends in `*` stands for all that begin so. What looks like a credential or an address needs its whole name.
   */
  readonly passHeaders?: readonly string[]
  /** Names of headers whose value is an account's own: a value that one account issued goes back to that account only. */
  readonly boundHeaders?: readonly string[]
}

/** What an upstream gets in place of the client's request, or why this account cannot serve the request at all. */
export type Adaptation =
  | {
      /** Path and query, or a whole address, as `path` returns it. @default what `path` returns */
      readonly path?: string
      /** The JSON body. @default the bytes that came */
      readonly body?: unknown
      readonly answer: AnswerForm
    }
  /** The answer for the client if no other account takes the request; the others are asked first. */
  | { readonly refusal: Answer }

/**
 * The form of one answer for the client, made of the events of the upstream's stream. `event` gets every one of them, as
 * JSON.
 */
export type AnswerForm = {
  /** The body of an upstream's refusal, in the client's shape. @default as it came */
  refusal?(status: number, body: unknown): unknown
} & (
  | {
      readonly kind: 'stream'
      /** The text that the client gets for an event; `undefined`: the event as it came. */
      event(event: unknown): string | undefined
      /** The last text, at the end of the upstream's stream. */
      end(): string
    }
  | {
      readonly kind: 'whole'
      event(event: unknown): void
      /** The one answer, at the end of the upstream's stream. */
      end(): Answer
    }
)

/** Header names with their values; an `undefined` one is left out. */
export type AuthorizationHeaders = Readonly<Record<string, string | undefined>>

/**
 * The answer: what it means for the account, and what it says about tokens and quota.
 *
 * ```ts
 * classify: ({ status }) => (status === 402 ? { kind: 'exhausted', reason: 'no credit left' } : { kind: 'pass' }),
 * quota: (headers) => ({ windows: [{ name: 'day', usedPercent: Number(headers['x-used-percent']) }] }),
 * ```
 */
export interface AnswerPart {
  /** Judges an upstream answer. @default by status, `Retry-After` honoured */
  classify?(answer: UpstreamAnswer, request: ClientRequest): Verdict
  /**
   * Judges the first events of a 200 stream: a verdict, `output` once the answer has begun, `undefined` if too early.
   * `request` tells the model, for limits that count one model only.
   */
  classifyEvent?(event: unknown, request?: ClientRequest): Verdict | 'output' | undefined
  /** The tokens that a JSON answer or a stream event names; the last one of a stream counts. */
  usage?(payload: unknown): Usage | undefined
  /** Only stream events that contain this text are parsed for `usage` and `aliases`. @default `"usage` */
  readonly usageMarker?: string
  /**
   * More ids of the conversation that an answer belongs to, from the payloads that `usage` sees: a later request whose
   * `conversation` is one of them goes to the account that gave this answer. @default none
   */
  aliases?(payload: unknown): readonly string[] | undefined
  /**
   * How an answer begins; called only where `conversation` returned a `history`. `payload` is the JSON answer, or the event of a
   * stream that tells its tokens; `events` are the first ones of a stream, parsed one by one as they are asked for, and
   * `whole` tells whether they are all that came. @default as OpenAI's, Google's and Anthropic's APIs write it
   */
  opening?(payload: unknown, events: Iterable<unknown>, whole: boolean): Opening | undefined
  /** Names of `resources` that a successful answer shows its account to have; `payload` is its JSON. @default none */
  resourcesMade?(payload: unknown, headers: IncomingHttpHeaders): readonly string[]
  /** Response headers with an address of `upstream` for the client's next request; rewritten to the gateway's. */
  readonly addressHeaders?: readonly string[]
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
  /** Response headers that must not reach the client. `set-cookie` never does. */
  readonly hiddenHeaders?: readonly string[]
}

/**
 * The pool's voice: answers that speak for all accounts at once, in the form that the client parses.
 *
 * ```ts
 * exhausted: ({ resetsAt }) => ({ status: 429, body: { error: 'quota', resets_at: resetsAt } }),
 * answer: ({ path }, { accounts }) => (path === '/accounts' ? { status: 200, body: accounts.length } : undefined),
 * ```
 */
export interface PoolPart {
  /** Answers a request without an upstream. Called before the body is read, and once more after it if there is one. */
  answer?(
    request: ClientRequest,
    pool: { readonly accounts: readonly PoolAccount[]; readonly now: number },
  ): Answer | undefined
  /**
   * For a GET whose answer differs from account to account but must speak for the pool: makes one answer of what all
   * accounts answered (parsed JSON of status 200, at least one); `undefined` if that cannot be. `accounts` is how many
   * are asked. @default one account's
   */
  merge?(request: ClientRequest, accounts?: number): ((answers: readonly unknown[]) => unknown) | undefined
  /**
   * Headers of an answer that tell one account's quota, with the pool's in its place: a client that shows its user what
   * is left would else show another number with every change of account. By lower-case name; `undefined` takes one out.
   */
  poolHeaders?(
    headers: IncomingHttpHeaders,
    accounts: readonly PoolAccount[],
    now: number,
  ): Readonly<Record<string, string | undefined>>
  /** "Every account is exhausted", in the client's own words. @default 429 */
  exhausted?(exhaustion: Exhaustion, request: ClientRequest): Answer
  /**
   * Why none of the pool's `accounts` serves a request, and the way out, for the answer to a request that no account can
   * serve. @default a sentence that names the provider
   */
  unserved?(request: ClientRequest, accounts: readonly PoolAccount[]): string
  /** Any other failure of the gateway's own, in the shape that the client parses. @default OpenAI's error shape */
  failure?(failure: Failure, request: ClientRequest): Answer
  /**
   * For a client that gives up a stream on which no event arrives for too long: `event` is an event of the stream's own
   * form that the client ignores, sent whenever an answer has been held back for `afterMs`. @default none is sent
   */
  readonly keepAlive?: {
    readonly afterMs: number
    readonly event: string
    /** The event for a client that would not ignore `event`; `''` for a client that reads no stream. @default `event` */
    instead?(request: ClientRequest): string | undefined
  }
  /**
   * The failing end of a stream whose head has been sent already: `answer` (what the client would have got instead of a
   * stream) as text of the stream's own form, such as `data: {"error":…}\n\n`. @default the connection is broken off
   */
  streamFailure?(answer: Answer, request: ClientRequest): string
}

/**
 * WebSocket: how to read the messages of both sides.
 *
 * ```ts
 * socket: {
 *   begins: () => ({ counts: true }),
 *   ends: (message) => JSON.stringify(message).includes('"done"'),
 *   reads: new Set(['done']),
 *   reconnect: { type: 'reconnect' },
 *   exhausted: () => ({ type: 'error', code: 'quota' }),
 * },
 * ```
 */
export interface WebSocketPart {
  /** Without it messages pass unread, on every path. */
  readonly socket?: SocketProtocol
}

/** The messages of a provider's WebSockets, as parsed JSON. Text messages only; binary ones always pass unread. */
export interface SocketProtocol {
  /** Which upgrades are served; others are answered 426. @default all */
  serves?(request: ClientRequest): boolean
  /** The response that a client's message begins: its `model`, and whether it counts as use (a warm-up does not). */
  begins(message: unknown): { readonly model?: string | undefined; readonly counts: boolean } | undefined
  /** Whether the response that runs is over with this message of the upstream. */
  ends(message: unknown): boolean
  /**
   * Types (`type` field) of the upstream's messages that are always parsed. A message of another type is parsed until one
   * of its type was output, and later only if it holds an error.
   */
  readonly reads: ReadonlySet<string>
  /** Quota as a message tells it. */
  quota?(message: unknown): Quota | undefined
  /** The same message with the pool's quota in place of one account's. */
  withPoolQuota?(message: unknown, accounts: readonly PoolAccount[], now: number): unknown
  /** The values of `boundHeaders` that a message carries, either way. */
  bound?(message: unknown): Readonly<Record<string, string>>
  /** A client's message without these bound values. */
  withoutBound?(message: unknown, names: readonly string[]): unknown
  /**
   * Whether a client's message that begins a response holds all of its input. Then it can be sent to another account,
   * unseen by the client. @default false: the client is told to send everything again
   */
  isWhole?(message: unknown): boolean
  /**
   * A message that shows nothing, sent every 100 s while messages are held back: the client gives a silent connection up.
   * @default after 100 s the client gets what was held back
   */
  readonly keepAlive?: unknown
  /** Makes the client connect again and send everything again, unseen by its user; `undefined` if no message does. */
  readonly reconnect: unknown
  /** "Every account is exhausted", in the client's own words. Not told without `reconnect`. */
  exhausted(exhaustion: Exhaustion): unknown
  /** The protocol for a request whose path has another one. @default this one */
  instead?(request: ClientRequest): SocketProtocol | undefined
  /** Only messages of the client that contain this text are read; `false`: none. @default all */
  readonly asks?: string | false
  /** Whether binary messages hold JSON, too. @default false */
  readonly binary?: boolean
  /** The response that a message of the upstream begins, where no message of the client asks for it. @default none */
  answers?(message: unknown): { readonly model?: string | undefined; readonly counts: boolean } | undefined
  /** The verdict in the upstream's close frame. @default trouble of the upstream */
  closes?(code: number, reason: string, request: ClientRequest): Verdict | undefined
}

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
   * JSON or is larger than `maxReplayBytes`. Parsed at the first call, which is costly: look at the headers first. A
   * compressed body, and one above 4 MiB or of more than 100,000 values, is parsed for `answer`, `conversation`, `model`,
   * `classify`, `classifyEvent` and `rewriteBody`; the other functions see it once one of these has asked for it.
   */
  json(): unknown
  /** Whether the body contains these characters: far cheaper than `json()`. `false` for a compressed body. */
  contains?(text: string): boolean
}

/** What is known of a request before its route is chosen. */
export type RequestHead = Pick<ClientRequest, 'method' | 'path' | 'headers'>

/** Which requests belong together, and whose account they need. */
export interface Conversation {
  /** Requests with the same id, or an alias of it, stay on one account. `''`: the client gives no name. */
  readonly id: string
  readonly aliases?: readonly string[]
  /** What the request repeats of the conversation, where the client gives it no name. */
  readonly history?: History | undefined
  /** The `identity` of the account it should go to if the pool has it: the caller's own. */
  readonly owner?: string | undefined
  /** Whether only the owner's account will do; 403 otherwise. @default false */
  readonly ownerOnly?: boolean
  /**
   * The caller's `workspace`. It stands for the owner where the caller or the account does not tell the person, one
   * account of the pool alone has this workspace, and the request is not `ownerOnly`.
   */
  readonly workspace?: string | undefined
  /**
   * Whether only the account that serves the conversation can read it, such as a summary that this account encrypted.
   * While that account is merely cooling, the request waits or is answered 503 instead of moving. @default false
   */
  readonly bound?: boolean
}

/**
 * What a request whose client names no conversation repeats of it. A request whose history begins with that of an earlier
 * one belongs to the same conversation, unless only the client's first messages are the same. `conversationOf` makes it.
 */
export interface History {
  /** Names that mean something only if an earlier request or answer had them, such as the id of the previous response. */
  readonly names: readonly string[]
  /** What was said so far, oldest first. */
  readonly parts: readonly HistoryPart[]
  /** Instructions and tools, or the beginnings of them: they tell conversations with the same history apart. */
  readonly setting: string
  /** Whether the client sends the same request once more. */
  readonly repeated: boolean
}

export interface HistoryPart {
  readonly byModel: boolean
  /** Enough of what was said to recognise it, in a form that does not change when it is repeated; a few hundred characters. */
  readonly text: string
}

/** What the next request may repeat of an answer. */
export interface Opening {
  /** Names by which the next request may refer to the answer; see {@link History.names}. */
  readonly names: readonly string[]
  /** The `text` of the first part that the answer adds to the history, in each form that it may take there. */
  readonly texts: readonly string[]
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
 * The meaning of an upstream answer.
 * - `pass`: goes to the client as it is: a success, or a refusal of the request itself.
 * - `unavailable`: the upstream is in trouble; another account may be tried, no account is at fault.
 * - `cooling`: this account (or this account for one model) is not picked for `retryAfterMs`, if known.
 * - `exhausted`: its quota is used up, until `resetsAt` if known.
 * - `unauthorized`: the access token was refused: refresh once and replay. If a fresh one is refused too, the account
 *   cools down, at most for 15 minutes; if most accounts are refused at once, the upstream counts as in trouble.
 * - `refused`: this account cannot serve this model or path; the next one is asked.
 * - `needs-login`: only a new login by the user helps. Only for what says so for good: the issuer's refusal of the refresh
 *   token, or a code that names the login as over.
 * - `repair`: the request holds a value that only another account can read; `body` is its JSON without that. It is
 *   sent once more to the same account; a second such verdict is a `pass`.
 */
export type Verdict =
  | { readonly kind: 'pass' }
  | (RefusingVerdict & {
      /**
       * It speaks of the account's login or rights, as a 401 or 403 does. The client would take that for its own login, so
       * it never reaches the client: not as an answer, and not in the midst of a stream. @default by the status
       */
      readonly ofLogin?: boolean
    })

type RefusingVerdict =
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
  | {
      readonly kind: 'refused'
      readonly reason: string
      readonly model?: string | undefined
      /** What `discover` found seems to be wrong: it is asked for again, once. */
      readonly doubts?: 'facts'
      /** What the client hears if every account refuses, in place of the upstream's own words. */
      readonly replacement?: Answer
    }
  | { readonly kind: 'needs-login'; readonly reason: string }
  | { readonly kind: 'repair'; readonly reason: string; readonly body: unknown }

/** A JSON answer of the gateway's own. */
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON; with the content type `text/event-stream`, as the one event of a stream. None when left out. */
  readonly body?: unknown
}

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
  /** The refusal of one of the accounts: a stable word, and the upstream's own sentence if it gave one. */
  readonly reason?: string | undefined
  /** A name of `resources` that the request needs: the account that has it is the only one that counts. */
  readonly resource?: string | undefined
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
