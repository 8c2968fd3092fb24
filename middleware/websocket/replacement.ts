import type { SocketProtocol, Verdict } from '../../config/provider.js'
import { available, exhaustionOf, fit } from '../../src/accounts/selection.js'
import { failureAnswer } from '../failure.js'
import { type FailureOptions, finalAnswer, refusedByAll } from '../final-answer.js'
import { isOfLogin } from '../judge.js'
import type { Tries } from '../tries.js'
import type { Connection, Turn } from './turn.js'

/** The message that the client gets in place of an account's refusal; `undefined`: the refusal itself. */
type Replacement = { readonly message: unknown; readonly reconnects: boolean } | undefined

/**
 * Where the response cannot be asked of another account unseen, the client must send everything once more. It is told
 * what makes it connect again by itself, even after output, which it then drops. Its next handshake finds an account, or
 * answers for a pool that is cooling.
 */
export function replacementMessage(
  protocol: SocketProtocol,
  verdict: Verdict,
  { exchange, account, credential, pool, onUnexpected }: Connection & FailureOptions,
  turn: Turn | undefined,
  { trouble }: Tries,
): Replacement {
  const { kind } = verdict
  const model = turn?.model
  if (
    protocol.reconnect === undefined ||
    kind === 'pass' ||
    kind === 'repair' ||
    exchange.route.retry.attempts === 1
  )
    return undefined
  const now = pool.now()
  const all = pool.accounts.of(account.provider)
  const fitting = fit(all, exchange.provider, exchange)
  const reconnect: Replacement = { message: protocol.reconnect, reconnects: true }
  if (kind === 'refused' || kind === 'unavailable') {
    if (kind === 'unavailable' && (!turn || turn.output)) return undefined
    const others = available(fitting, new Set([account]), model, now)
    if (others.some((other) => !other.refuses(model, now))) {
      // The next handshake must not come to this account.
      if (kind === 'unavailable')
        pool
          .applyVerdict(account, { kind: 'cooling', reason: verdict.reason }, credential)
          .catch(onUnexpected)
      return reconnect
    }
    if (kind === 'unavailable') return undefined
    if (verdict.replacement) return { message: verdict.replacement.body, reconnects: false }
    if (!isOfLogin(200, verdict)) return undefined
    const { status, body } = failureAnswer(refusedByAll(exchange, verdict.reason), exchange)
    return { message: { type: 'error', status, ...(body as object) }, reconnects: false }
  }
  const exhaustion = exhaustionOf(fitting, model, now)
  // Most accounts are refused alike: on `reconnect` the client would come again without end.
  if (!exhaustion && kind === 'unauthorized' && trouble) {
    const { status, body } = finalAnswer(exchange, { fitting, all }, trouble, now)
    return { message: { type: 'error', status, ...(body as object) }, reconnects: false }
  }
  if (!exhaustion) return reconnect
  return { message: protocol.exhausted({ ...exhaustion, plan: account.plan }), reconnects: false }
}
