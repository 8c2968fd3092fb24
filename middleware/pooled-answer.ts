import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { RequestHandler } from 'express'
import type { Account } from '../src/accounts/account.js'
import { deadline } from '../src/pool/deadline.js'
import type { Pool } from '../src/pool/pool.js'
import { fit } from '../src/accounts/selection.js'
import type { AttemptOne } from './attempt.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { hold, textOf } from './attempt.js'
import type { HeldAnswer } from './exchange.js'
import { Tries } from './tries.js'

/** Codex waits 5 s for its list of models, and does nothing meanwhile. */
const PATIENCE_MS = 3_000
const MAX_BYTES = 8 * 1024 * 1024

/**
 * Asks every account where the answer of one would not do for all, and makes one answer of what they say. If they say
 * nothing that can be used, the request goes on as any other.
 */
export function pooledAnswer(pool: Pool, attempt: AttemptOne): RequestHandler {
  return async function pooledAnswer(request, _response, next) {
    const exchange = exchangeOf(request)
    const merge = exchange.method === 'GET' ? exchange.provider.merge?.(exchange) : undefined
    const accounts = merge ? usable(exchange, pool) : []
    if (!merge || accounts.length < 2) return next()
    const answers = await askAll(exchange, accounts, attempt)
    const body = answers.length > 0 ? merge(answers) : undefined
    if (body !== undefined) {
      const etag = `"${createHash('sha256').update(JSON.stringify(body)).digest('base64url')}"`
      exchange.outcome = { kind: 'pooled', answer: { status: 200, headers: { etag }, body } }
    }
    next()
  }
}

/** The exhausted ones too: what an account may use does not change with how much of it is used. */
function usable(exchange: Exchange, pool: Pool): Account[] {
  const all = pool.accounts.of(exchange.route.providerName)
  const now = pool.now()
  return fit(all, exchange.provider, exchange).filter((account) => {
    const hindrance = account.unavailable(undefined, now)
    return account.inspection.standby === undefined && (!hindrance || hindrance === 'exhausted')
  })
}

/** What they answer in time, parsed. */
async function askAll(exchange: Exchange, accounts: Account[], attempt: AttemptOne): Promise<unknown[]> {
  const signal = deadline(PATIENCE_MS, exchange.signal)
  // One of every account.
  setMaxListeners(0, signal)
  const late = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  const asked = accounts.map((account) => Promise.race([ask(exchange, account, attempt, signal), late]))
  return (await Promise.all(asked)).filter((answer) => answer !== undefined)
}

async function ask(
  exchange: Exchange,
  account: Account,
  attempt: AttemptOne,
  signal: AbortSignal,
): Promise<unknown> {
  const tries = new Tries()
  let attempted = await attempt(exchange, account, tries, signal)
  while (attempted.kind === 'renewed' || attempted.kind === 'stale')
    attempted = await attempt(exchange, account, tries, signal)
  tries.refusal?.answer.discard()
  return attempted.kind === 'answered' ? read(attempted.answer) : undefined
}

async function read(answer: HeldAnswer): Promise<unknown> {
  const whole = await hold(answer, { maxBytes: MAX_BYTES, maxMs: PATIENCE_MS })
  if (answer.status !== 200 || !whole.ended) return void answer.discard()
  answer.done()
  try {
    return JSON.parse(textOf(whole))
  } catch {
    return undefined
  }
}
