import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { RequestHandler } from 'express'
import { parseJson } from '../config/index.js'
import type { Account } from '../src/accounts/account.js'
import { fit } from '../src/accounts/selection.js'
import { deadline } from '../src/pool/deadline.js'
import type { Pool } from '../src/pool/pool.js'
import type { AttemptOne } from './attempt.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { sendJson } from './failure.js'
import type { HeldAnswer } from './forward.js'
import { hold, textOf } from './judge.js'
import { Tries } from './tries.js'

/**
 * Sends the answers that the provider gives without an upstream. Runs before the body is read and once more after it,
 * since an answer may depend on it.
 */
export function localAnswers(pool: Pool, after?: 'body'): RequestHandler {
  return async function localAnswers(request, response, next) {
    const exchange = exchangeOf(request)
    if (after === 'body' && exchange.body.kind !== 'buffered') return next()
    const accounts = pool.forAnswers(exchange.route.providerName)
    const answer = await exchange.readingBody(() =>
      exchange.provider.answer?.(exchange, { accounts, now: pool.now() }),
    )
    if (!answer) return next()
    sendJson(response, answer)
  }
}

/** Clients wait for a list of models at their start; Codex gives up after 5 s. */
const PATIENCE_MS = 3_000
const MAX_BYTES = 8 * 1024 * 1024

/**
 * Asks every account where the answer of one would be wrong for the pool, and merges what they answer. If no answer can
 * be used, the request goes on as any other.
 */
export function pooledAnswer(pool: Pool, attempt: AttemptOne): RequestHandler {
  return async function pooledAnswer(request, _response, next) {
    const exchange = exchangeOf(request)
    if (exchange.method !== 'GET' || !exchange.provider.merge) return next()
    const accounts = asked(exchange, pool)
    const merge = exchange.provider.merge(exchange, accounts.length)
    if (!merge || accounts.length === 0) return next()
    const answers = await askAll(exchange, accounts, attempt)
    const body = answers.length > 0 ? merge(answers) : undefined
    if (body !== undefined) {
      const etag = `"${createHash('sha256').update(JSON.stringify(body)).digest('base64url')}"`
      exchange.outcome = { kind: 'pooled', answer: { status: 200, headers: { etag }, body } }
    }
    next()
  }
}

/**
 * The accounts to ask, exhausted ones included: a used-up quota does not change the list of models. Accounts that stand
 * behind the others by their kind are asked only where there are no others.
 */
function asked(exchange: Exchange, pool: Pool): Account[] {
  const all = pool.accounts.of(exchange.route.providerName)
  const now = pool.now()
  const able = fit(all, exchange.provider, exchange).filter((account) => {
    const hindrance = account.unavailable(undefined, now)
    return !hindrance || hindrance === 'exhausted'
  })
  const foremost = able.filter(({ inspection }) => inspection.order === undefined)
  return foremost.length > 0 ? foremost : able
}

/** The answers that come in time, parsed. */
async function askAll(exchange: Exchange, accounts: Account[], attempt: AttemptOne): Promise<unknown[]> {
  const signal = deadline(PATIENCE_MS, exchange.signal)
  // Each attempt adds a listener: lifts Node's warning about more than ten.
  setMaxListeners(0, signal)
  const late = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  const answers = accounts.map((account) => Promise.race([ask(exchange, account, attempt, signal), late]))
  return (await Promise.all(answers)).filter((answer) => answer !== undefined)
}

async function ask(
  exchange: Exchange,
  account: Account,
  attempt: AttemptOne,
  signal: AbortSignal,
): Promise<unknown> {
  const tries = new Tries()
  let attempted = await attempt(exchange, account, tries, signal)
  while (attempted.kind === 'refreshed' || attempted.kind === 'stale')
    attempted = await attempt(exchange, account, tries, signal)
  tries.refusal?.answer.discard()
  return attempted.kind === 'answered' ? read(attempted.answer) : undefined
}

async function read(answer: HeldAnswer): Promise<unknown> {
  if (answer.status !== 200) return void answer.discard()
  const whole = await hold(answer, { maxBytes: MAX_BYTES, maxMs: PATIENCE_MS })
  if (!whole.ended) return void answer.discard()
  answer.done()
  return parseJson(await textOf(whole))
}
