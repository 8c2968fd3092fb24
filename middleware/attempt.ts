import { redact } from '../config/index.js'
import type { Verdict } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import type { Pool } from '../src/accounts/pool.js'
import type { Events } from '../src/events.js'
import type { InjectAuth } from './auth-injection.js'
import type { Exchange } from './exchange.js'
import { whyAborted, type Forward, type Forwarded } from './forward.js'
import { judge } from './judge.js'
import type { HeldAnswer } from './outcome.js'
import { troubleOf, type Tries } from './tries.js'

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
    const forwarded = await forward(injected.plan, exchange.socket, exchange.matched.retry, signal)
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
    const once = exchange.matched.retry.attempts > 1 && tries.mayReplay(account, 'repair')
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
