import type { Attempted } from './attempt.js'
import type { Exchange } from './exchange.js'
import type { Tries } from './tries.js'

export type Decision =
  /** The same account once more. */
  | 'again'
  /** Another account. */
  | 'next'
  /** No further account; the gateway answers. */
  | 'give-up'

/**
 * The one place that decides what follows an attempt that brought no answer for the client. Never sent: anybody may be
 * tried. Sent: only what may be sent twice, unless the account refused it. Committed: nothing is retried, so it never
 * comes here.
 */
export function decide(attempted: Failed, exchange: Exchange, tries: Tries): Decision {
  const { attempts } = exchange.matched.retry
  if (attempts === 1) return 'give-up'
  // A body that was streamed through is gone.
  if (exchange.body.kind === 'streaming' && attempted.kind !== 'unfit') return 'give-up'
  switch (attempted.kind) {
    case 'renewed':
    case 'repaired':
    case 'stale':
      return 'again'
    case 'unfit':
    case 'turned-away':
      return 'next'
    case 'never-sent':
      // Another account may live at another address; but a client is not kept waiting through a row of timeouts.
      return attempted.slow ? spend(tries, attempts) : 'next'
    case 'sent':
      return exchange.replayable ? spend(tries, attempts) : 'give-up'
  }
}

type Failed = Exclude<Attempted, { kind: 'answered' }>

function spend(tries: Tries, attempts: number): Decision {
  tries.spent++
  return tries.spent < attempts ? 'next' : 'give-up'
}
