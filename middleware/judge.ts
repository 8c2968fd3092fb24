import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import type { Exchange } from './exchange.js'
import { hold, textOf } from './hold.js'
import type { HeldAnswer } from './outcome.js'
import { eventsIn } from './sse.js'

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
