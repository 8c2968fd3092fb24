import { kept, parseJson, redact } from '../config/index.js'
import type { Verdict } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import type { Pool } from '../src/pool/pool.js'
import type { Events } from '../src/telemetry/events.js'
import type { InjectAuth } from './auth-injection.js'
import type { Exchange } from './exchange.js'
import { troubleOf } from './final-answer.js'
import { type Forward, type Forwarded, type HeldAnswer, whyAborted } from './forward.js'
import { isOfLogin, judge, NO_OUTPUT, textOf } from './judge.js'
import type { Refusal, Tries } from './tries.js'

/** The outcome of asking one account. */
export type Attempted =
  /** An answer for the client. `credential` is the one that the upstream accepted. */
  | { readonly kind: 'answered'; readonly answer: HeldAnswer; readonly credential: object }
  /** Nothing was sent: the account has no usable token, or lacks a fact. */
  | { readonly kind: 'unfit' }
  /** Nothing was sent: the account's upstream takes no request of this form. */
  | { readonly kind: 'declined' }
  /** The account's token was refused and has been refreshed. */
  | { readonly kind: 'refreshed' }
  /** The account cannot read a part of the request that another account encrypted. That part has been removed. */
  | { readonly kind: 'repaired' }
  /** The account refused, because of a limit, its login or the model. */
  | { readonly kind: 'turned-away' }
  /** The connection broke on a kept-alive socket that the upstream had most likely closed already. */
  | { readonly kind: 'stale' }
  /** There was no connection. `slow`: the attempt took long, so it costs a try. */
  | { readonly kind: 'never-sent'; readonly slow: boolean }
  /** The upstream may have received the request, and is in trouble. */
  | { readonly kind: 'sent' }

export type AttemptOne = (
  exchange: Exchange,
  account: Account,
  tries: Tries,
  /** Ends the attempt. @default the exchange's signal, which aborts when the client leaves */
  signal?: AbortSignal,
) => Promise<Attempted>

/** Outcomes without a request that has gone out. */
const UNSENT: ReadonlySet<Attempted['kind']> = new Set(['unfit', 'declined', 'never-sent'])

/** A refused connection takes less, a connect timeout more; ms. */
const SLOW_MS = 1_000

/** Asks one account: adds its credential, sends the request, judges the answer, and applies the verdict. */
export function attempt(pool: Pool, injectAuth: InjectAuth, forward: Forward, events: Events): AttemptOne {
  return async function attempt(exchange, account, tries, signal = exchange.signal) {
    const startedAt = Date.now()
    const end = (attempted: Attempted, told: string, status?: number): Attempted => {
      const outcome = kept(redact(told), LONGEST_REASON)
      const durationMs = Date.now() - startedAt
      const sent = !UNSENT.has(attempted.kind)
      exchange.attempts.push({ account: account.key, status, outcome, startedAt, durationMs, sent })
      events.emit('attempt', { id: exchange.id, account: account.key, status, outcome, durationMs })
      return attempted
    }
    const injected = await injectAuth(exchange, account)
    if (signal.aborted) return end({ kind: 'unfit' }, whyAborted(signal))
    if ('refusal' in injected) {
      tries.declined = injected.refusal
      return end({ kind: 'declined' }, 'not in a form that this account takes')
    }
    if ('unfit' in injected) {
      if (injected.unfit === 'unavailable') tries.trouble = troubleOf(injected)
      return end({ kind: 'unfit' }, injected.reason)
    }
    const { credential } = account
    const forwarded = await forward(injected.plan, exchange.socket, exchange.route.retry, signal)
    if (forwarded.kind === 'failed')
      return end(unanswered(forwarded, account, exchange, tries, Date.now() - startedAt), forwarded.reason)
    const { status, response } = forwarded.answer
    try {
      const quota = exchange.provider.quota?.(response.headers)
      if (quota) pool.observe(account, quota, 'headers', credential)
      const { verdict, answer } = await judge(forwarded.answer, exchange)
      const attempted = await applied(verdict, answer, { pool, exchange, account, tries, credential })
      return end(attempted, verdict.kind === 'pass' ? 'pass' : `${verdict.kind}: ${verdict.reason}`, status)
    } catch (error) {
      // A function of the user's own has thrown. An answer that is not read must be closed.
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

interface Asked {
  readonly pool: Pool
  readonly exchange: Exchange
  readonly account: Account
  readonly tries: Tries
  /** The credential that the upstream has judged. */
  readonly credential: object
}

/** Applies a verdict to the account and the request. Drops an answer that the client does not get. */
async function applied(verdict: Verdict, answer: HeldAnswer, asked: Asked): Promise<Attempted> {
  const { pool, account, tries, exchange, credential } = asked
  if (verdict.kind === 'pass') return { kind: 'answered', answer, credential }
  if (verdict.kind === 'repair') {
    const once = exchange.route.retry.attempts > 1 && tries.mayReplay(account, 'repair')
    if (!once) return { kind: 'answered', answer, credential }
    answer.discard()
    exchange.repaired = verdict.body
    return { kind: 'repaired' }
  }
  if (verdict.kind === 'unavailable' && verdict.reason === NO_OUTPUT) {
    tries.trouble = troubleOf(verdict)
    return tries.isEmptyAgain(account, answer) ? { kind: 'answered', answer, credential } : { kind: 'sent' }
  }
  if (verdict.kind === 'refused') return refused(verdict, answer, asked)
  answer.discard()
  switch (verdict.kind) {
    case 'unavailable':
      tries.trouble = troubleOf({ ...verdict, status: answer.status })
      tries.troubled.add(account)
      return { kind: 'sent' }
    case 'unauthorized':
      return refreshed(verdict, asked)
    case 'cooling':
    case 'exhausted':
      tries.cooled.add(account)
  }
  await pool.applyVerdict(account, verdict, credential)
  return { kind: 'turned-away' }
}

type Refused = Extract<Verdict, { kind: 'refused' }>

/** Keeps the refusal for the client, unless the account's facts were out of date and it can be asked again. */
async function refused(verdict: Refused, answer: HeldAnswer, asked: Asked): Promise<Attempted> {
  const { pool, account, tries, credential } = asked
  const result = await pool.applyVerdict(account, verdict, credential)
  const again = result?.kind === 'fresh' && tries.mayReplay(account, 'refresh')
  if (again) answer.discard()
  else tries.refuse(await refusalBy(account, answer, verdict))
  return { kind: again ? 'refreshed' : 'turned-away' }
}

async function refreshed(verdict: Verdict, { pool, account, tries, credential }: Asked): Promise<Attempted> {
  const result = await pool.applyVerdict(account, verdict, credential)
  if (result?.kind === 'unavailable') tries.trouble = troubleOf(result)
  if (result?.kind === 'refused') tries.cooled.add(account)
  const again = result?.kind === 'fresh' && tries.mayReplay(account, 'refresh')
  return { kind: again ? 'refreshed' : 'turned-away' }
}

/** Characters. */
const LONGEST_REASON = 300

interface Told {
  readonly error?: { readonly message?: unknown } | null
  readonly detail?: unknown
}

/** A refusal with the upstream's own sentence about it. */
async function refusalBy(account: Account, answer: HeldAnswer, verdict: Refused): Promise<Refusal> {
  const json = parseJson(await textOf(answer))
  const told = (Array.isArray(json) ? json[0] : json) as Told | undefined | null
  const sentence = told?.error?.message ?? told?.detail
  const words = typeof sentence === 'string' && sentence !== '' ? redact(sentence) : verdict.reason
  const ofLogin = isOfLogin(answer.status, verdict)
  const { replacement } = verdict
  return { account, answer, reason: words.slice(0, LONGEST_REASON), ofLogin, replacement }
}
