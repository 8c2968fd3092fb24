import { brotliCompressSync } from 'node:zlib'
import { faults, geminiFaults, type Fault, type WireFault } from '../../../src/simulator/index.js'
import { EVENT_STREAM } from '../../kit/stream.js'
import type { Front } from './fronts.js'
import { moves, perForm, stays, trouble, type Row } from './row.js'

/** A stream that begins with this refusal of Google's. */
const first = (refusal: WireFault): WireFault => ({ events: () => [refusal.body as object] })
const worded = (openAi: WireFault, google: WireFault) => (front: Front) => (front.google ? google : openAi)

/** What a provider cannot read goes to the client, which can. */
const unread = stays('cut short')

/** What can be wrong with an answer that says 200. */
export const streams: readonly Row[] = [
  { fault: '200 without a body', does: () => ({ status: 200 }), outcome: trouble(502) },
  { fault: '200 with an empty stream', does: () => faults.end(0), outcome: trouble(502) },
  {
    fault: 'first event: a rate limit',
    does: worded(faults.failed('rate_limit_exceeded'), first(geminiFaults.rateLimited())),
    outcome: perForm(moves('wait', 'cooling 1 s'), moves('wait', 'cooling 1 s for the model'), unread),
  },
  {
    fault: 'first event: a quota used up',
    does: worded(faults.failed('usage_limit_reached'), first(geminiFaults.quotaExhausted())),
    outcome: perForm(
      moves('limit', 'exhausted 900 s'),
      moves('limit', 'exhausted 900 s for the model'),
      unread,
    ),
  },
  {
    fault: 'first event: an error',
    does: worded(faults.errorEvent('server_is_overloaded'), geminiFaults.errorEvent()),
    outcome: perForm(trouble(502), trouble(502), unread),
  },
  { fault: 'cut before output', does: (front) => faults.cut(front.beforeOutput), outcome: trouble(502) },
  {
    fault: 'ended before output',
    does: worded(faults.end(1), { events: () => [{ response: { usageMetadata: {} } }] }),
    outcome: perForm(trouble(502), moves('cut short', 'cooling 1 s', 'ready'), unread),
  },
  { fault: 'cut after output', does: (front) => faults.cut(front.untilOutput), outcome: stays('broken') },
  {
    fault: 'silent after output',
    does: (front) => faults.stall(front.untilOutput),
    retry: { idleTimeoutMs: 60 },
    outcome: stays('broken'),
  },
  {
    fault: 'ended after output',
    does: (front) => faults.end(front.untilOutput),
    outcome: stays('cut short'),
  },
  { fault: 'compressed with gzip', does: () => faults.gzip(), outcome: stays('answer') },
  { fault: 'compressed with br', does: brotli, outcome: stays('answer') },
]

function brotli({ sample }: Front): Fault {
  return (_request, response) => {
    response.writeHead(200, { ...EVENT_STREAM, 'content-encoding': 'br' }).end(brotliCompressSync(sample))
  }
}
