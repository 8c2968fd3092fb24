import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { redact } from '../config/index.js'
import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import type { Pool } from '../src/pool/pool.js'
import type { Events } from '../src/telemetry/events.js'
import type { InjectAuth } from './auth-injection.js'
import type { Exchange, HeldAnswer } from './exchange.js'
import { type Forward, type Forwarded, whyAborted } from './forward.js'
import { type Tries, troubleOf } from './tries.js'
import { eventsIn } from './usage-tap.js'

/** What asking one account came to. */
export type Attempted =
  /** The client may have this. */
  | { readonly kind: 'answered'; readonly answer: HeldAnswer }
  /** The account has no usable token, or lacks a fact: nothing was sent. */
  | { readonly kind: 'unfit' }
  /** Its token was refused and has been renewed. */
  | { readonly kind: 'renewed' }
  /** It cannot read a part of the request that another account wrote; that part is out now. */
  | { readonly kind: 'repaired' }
  /** It refused: a limit, a login, a model. */
  | { readonly kind: 'turned-away' }
  /** Broken on a kept-alive socket that the upstream had most likely closed before. */
  | { readonly kind: 'stale' }
  /** No connection. `slow`: the client has waited for that. */
  | { readonly kind: 'never-sent'; readonly slow: boolean }
  /** The upstream may have received it, and is in trouble. */
  | { readonly kind: 'sent' }

export type AttemptOne = (
  exchange: Exchange,
  account: Account,
  tries: Tries,
  /** Gives the attempt up. @default the client leaves */
  signal?: AbortSignal,
) => Promise<Attempted>

/** A refused connection is no wait; a connect timeout is. */
const SLOW_MS = 1_000

/** Asks one account: makes the request its own, sends it, judges the answer, and keeps what was learned. */
export function attempt(pool: Pool, injectAuth: InjectAuth, forward: Forward, events: Events): AttemptOne {
  return async function attempt(exchange, account, tries, signal = exchange.signal) {
    const startedAt = Date.now()
    const end = (attempted: Attempted, told: string, status?: number): Attempted => {
      const outcome = redact(told)
      const durationMs = Date.now() - startedAt
      const sent = attempted.kind !== 'unfit' && attempted.kind !== 'never-sent'
      exchange.attempts.push({ account: account.key, status, outcome, startedAt, durationMs, sent })
      events.emit('attempt', { id: exchange.id, account: account.key, status, outcome, durationMs })
      return attempted
    }
    const injected = await injectAuth(exchange, account)
    if (signal.aborted) return end({ kind: 'unfit' }, whyAborted(signal))
    if ('unfit' in injected) {
      if (injected.unfit === 'unavailable') tries.trouble = troubleOf({ reason: 'token_refresh_failed' })
      return end({ kind: 'unfit' }, injected.reason)
    }
    const { credential } = account
    const forwarded = await forward(injected.plan, exchange.socket, exchange.route.retry, signal)
    if (forwarded.kind === 'failed')
      return end(unanswered(forwarded, account, exchange, tries, Date.now() - startedAt), forwarded.reason)
    const { status, response } = forwarded.answer
    try {
      const quota = exchange.provider.quota?.(response.headers)
      if (quota) pool.observe(account, quota, 'headers')
      const { verdict, answer } = await judge(forwarded.answer, exchange)
      const attempted = await learn(verdict, answer, { pool, exchange, account, tries, credential })
      return end(attempted, verdict.kind === 'pass' ? 'pass' : `${verdict.kind}: ${verdict.reason}`, status)
    } catch (error) {
      // A provider of the user's own has failed: nobody will read this answer.
      forwarded.answer.discard()
      throw error
    }
  }
}

function unanswered(
  failed: Extract<Forwarded, { kind: 'failed' }>,
  account: Account,
  exchange: Exchange,
  tries: Tries,
  waitedMs: number,
): Attempted {
  if (failed.stale && exchange.replayable && tries.mayReplay(account, 'stale')) return { kind: 'stale' }
  tries.trouble = troubleOf(failed)
  return failed.sent ? { kind: 'sent' } : { kind: 'never-sent', slow: waitedMs > SLOW_MS }
}

interface Lesson {
  readonly pool: Pool
  readonly exchange: Exchange
  readonly account: Account
  readonly tries: Tries
  /** What the upstream judged. */
  readonly credential: object
}

/** Keeps what a verdict says about the account. An answer that the client will not get is given up. */
async function learn(verdict: Verdict, answer: HeldAnswer, lesson: Lesson): Promise<Attempted> {
  const { pool, account, tries, exchange } = lesson
  if (verdict.kind === 'pass') return { kind: 'answered', answer }
  if (verdict.kind === 'repair') {
    const once = exchange.route.retry.attempts > 1 && tries.mayReplay(account, 'repair')
    if (!once) return { kind: 'answered', answer }
    answer.discard()
    exchange.repaired = verdict.body
    return { kind: 'repaired' }
  }
  if (verdict.kind === 'refused') {
    tries.refuse(account, answer)
    if (verdict.model !== undefined) pool.rest(account, verdict)
    return { kind: 'turned-away' }
  }
  answer.discard()
  switch (verdict.kind) {
    case 'unavailable':
      tries.trouble = troubleOf({ ...verdict, status: answer.status })
      tries.troubled.add(account)
      return { kind: 'sent' }
    case 'unauthorized':
      return renew(lesson)
    case 'needs-login':
      pool.needsLogin(account, verdict.reason)
      return { kind: 'turned-away' }
    case 'cooling':
    case 'exhausted':
      tries.rested.add(account)
      pool.rest(account, verdict)
      return { kind: 'turned-away' }
  }
}

async function renew({ pool, account, tries, credential }: Lesson): Promise<Attempted> {
  if (!tries.mayReplay(account, 'refresh')) {
    pool.needsLogin(account, 'its access token was refused right after it had been renewed')
    return { kind: 'turned-away' }
  }
  const renewed = await pool.tokens.renew(account, credential)
  if (renewed.kind === 'unavailable') tries.trouble = troubleOf({ reason: 'token_refresh_failed' })
  return { kind: renewed.kind === 'fresh' ? 'renewed' : 'turned-away' }
}

/** A refusal's body is read so far, and no longer, to learn what it says. */
const REFUSAL = { maxBytes: 64 * 1024, maxMs: 2_000 }
/** A stream is held back at most so long for the first event that shows whether it is an answer. */
const FIRST_EVENTS = { maxBytes: 64 * 1024, maxMs: 2_000 }

/** Nothing that could be passed on; a 101 that nobody has asked for is none either. */
const BAD_ANSWER: Verdict = { kind: 'unavailable', reason: 'bad_answer' }

export interface Judged {
  readonly verdict: Verdict
  readonly answer: HeldAnswer
}

/** What the provider makes of an answer; the answer comes back with what had to be read of it. */
export async function judge(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  if (answer.status < 200 || answer.status > 599)
    return { answer, verdict: exchange.upgrades ? classify(answer, exchange) : BAD_ANSWER }
  if (answer.status >= 400) {
    const read = await hold(answer, REFUSAL)
    return { answer: read, verdict: classify(read, exchange) }
  }
  const verdict = classify(answer, exchange)
  // What may be sent once only has nowhere to go, and its stream may well be silent for long.
  const mayMove = exchange.method === 'POST' && exchange.replayable
  if (verdict.kind !== 'pass' || !mayMove) return { answer, verdict }
  if (answer.status === 200 && answer.response.headers['content-length'] === '0')
    return { answer, verdict: { kind: 'unavailable', reason: 'empty_answer' } }
  return streams(answer) ? lookEarly(answer, exchange) : { answer, verdict }
}

/** Whether an answer is a stream of events that can be read. */
function streams({ response: { headers } }: HeldAnswer): boolean {
  const readable = headers['content-encoding'] === undefined || headers['content-encoding'] === 'identity'
  return readable && (headers['content-type']?.startsWith('text/event-stream') ?? false)
}

/** Some refusals come as the first event of a 200 stream, and some streams end or break before they have begun. */
async function lookEarly(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  const { classifyEvent } = exchange.provider
  let found: Verdict | 'output' | undefined
  const enough = (bytes: Buffer): boolean => {
    // Where nobody reads the events, any byte is output.
    if (!classifyEvent) found = 'output'
    else
      for (const event of eventsIn(bytes)) if ((found = classifyEvent(event, exchange)) !== undefined) break
    return found !== undefined
  }
  const begun = await hold(answer, { ...FIRST_EVENTS, enough })
  return { answer: begun, verdict: typeof found === 'object' ? found : soundness(begun, found === 'output') }
}

/** A stream that is over before any output is no answer: the client would have to ask again, in its user's sight. */
function soundness({ begun, ended, response }: HeldAnswer, output: boolean): Verdict {
  if (!ended && response.destroyed) return { kind: 'unavailable', reason: 'broken_answer' }
  if (!ended || output) return { kind: 'pass' }
  const empty = begun.every((chunk) => chunk.length === 0)
  return { kind: 'unavailable', reason: empty ? 'empty_answer' : 'answer_without_output' }
}

function classify(answer: HeldAnswer, exchange: Exchange): Verdict {
  const body = answer.status >= 400 ? textOf(answer) : ''
  const seen: UpstreamAnswer = {
    status: answer.status,
    headers: answer.response.headers,
    body,
    json: () => {
      try {
        return JSON.parse(body)
      } catch {
        return undefined
      }
    },
  }
  return exchange.provider.classify?.(seen, exchange) ?? { kind: 'pass' }
}

export interface HoldOptions {
  readonly maxBytes: number
  readonly maxMs: number
  /** Called with all bytes so far; `true` lets go before the bounds are reached. */
  readonly enough?: (bytes: Buffer) => boolean
}

/** Reads the beginning of an answer and keeps it, so that it can still be given up or sent on whole. */
export function hold(answer: HeldAnswer, options: HoldOptions): Promise<HeldAnswer> {
  const { response } = answer
  return new Promise((resolve) => {
    let begun = Buffer.concat(answer.begun)
    const stop = () => {
      clearTimeout(timer)
      response.off('data', onData).off('end', stop).off('close', stop)
      response.pause()
      // Not whether `end` has come: of an answer that was there as a whole it comes in a moment, paused or not.
      const ended = response.complete && response.readableLength === 0
      resolve({ ...answer, begun: [begun], ended })
    }
    const onData = (chunk: Buffer) => {
      begun = Buffer.concat([begun, chunk])
      if (begun.length >= options.maxBytes || options.enough?.(begun)) stop()
    }
    const timer = setTimeout(stop, options.maxMs)
    response.on('data', onData).once('end', stop).once('close', stop)
  })
}

/** The text of an answer's beginning, decompressed if need be; empty if it cannot be read. */
export function textOf(answer: HeldAnswer): string {
  const bytes = Buffer.concat(answer.begun)
  const options = { maxOutputLength: 8 * 1024 * 1024 }
  try {
    switch (answer.response.headers['content-encoding']) {
      case 'gzip':
        return gunzipSync(bytes, options).toString('utf8')
      case 'br':
        return brotliDecompressSync(bytes, options).toString('utf8')
      case 'deflate':
        return inflateSync(bytes, options).toString('utf8')
      case undefined:
      case 'identity':
        return bytes.toString('utf8')
    }
  } catch {
    // Cut off or not what it says: then it is judged by its status alone.
  }
  return ''
}
