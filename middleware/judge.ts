import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import type { Exchange } from './exchange.js'
import { hold, textOf } from './hold.js'
import type { HeldAnswer } from './outcome.js'
import { eventsIn } from './sse.js'

/** A refusal's body is read so far, and no longer, to learn what it says. */
const REFUSAL = { maxBytes: 64 * 1024, maxMs: 2_000 }
/** A stream is held back at most so long for the first event that shows whether it is an answer. */
const FIRST_EVENTS = { maxBytes: 64 * 1024, maxMs: 2_000 }

export interface Judged {
  readonly verdict: Verdict
  readonly answer: HeldAnswer
}

/** What the provider makes of an answer; the answer comes back with what had to be read of it. */
export async function judge(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  if (answer.status >= 400) {
    const read = await hold(answer, REFUSAL)
    return { answer: read, verdict: classify(read, exchange) }
  }
  const verdict = classify(answer, exchange)
  const { headers } = answer.response
  const readable = headers['content-encoding'] === undefined || headers['content-encoding'] === 'identity'
  const streams = readable && headers['content-type']?.startsWith('text/event-stream')
  if (verdict.kind !== 'pass' || !streams || !exchange.provider.classifyEvent) return { answer, verdict }
  return lookEarly(answer, exchange)
}

/** Some refusals come as the first event of a 200 stream. */
async function lookEarly(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  let verdict: Verdict = { kind: 'pass' }
  const enough = (bytes: Buffer): boolean => {
    for (const event of eventsIn(bytes)) {
      const found = exchange.provider.classifyEvent!(event, exchange)
      if (found === undefined) continue
      if (found !== 'output') verdict = found
      return true
    }
    return false
  }
  const begun = await hold(answer, { ...FIRST_EVENTS, enough })
  const bytes = begun.begun.reduce((sum, chunk) => sum + chunk.length, 0)
  if (begun.ended && bytes === 0) verdict = { kind: 'unavailable', reason: 'empty_answer' }
  if (!begun.ended && begun.response.destroyed) verdict = { kind: 'unavailable', reason: 'broken_answer' }
  return { answer: begun, verdict }
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
