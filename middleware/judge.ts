import { createParser } from 'eventsource-parser'
import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import { decodeText, isPlain } from './decode.js'
import type { Exchange } from './exchange.js'
import type { HeldAnswer } from './forward.js'

/** A refusal's body is read so far, and no longer, to find its reason. */
const REFUSAL = { maxBytes: 64 * 1024, maxMs: 2_000 }
/** A stream is held back at most so long for the first event that shows whether it is an answer. */
const FIRST_EVENTS = { maxBytes: 64 * 1024, maxMs: 2_000 }

/** A status that cannot be passed on, such as a 101 that the client has not asked for. */
const BAD_ANSWER: Verdict = { kind: 'unavailable', reason: 'bad_answer' }

export interface Judged {
  readonly verdict: Verdict
  /** The answer with the part of its body that had to be read. */
  readonly answer: HeldAnswer
}

/** Asks the provider what an answer means, before anything of it has reached the client. */
export async function judge(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  if (answer.status < 200 || answer.status > 599)
    return { answer, verdict: exchange.upgrades ? await classify(answer, exchange) : BAD_ANSWER }
  if (answer.status >= 400) {
    const read = await hold(answer, REFUSAL)
    return { answer: read, verdict: await classify(read, exchange) }
  }
  const verdict = await classify(answer, exchange)
  // A request that is not replayable cannot move to another account, so its stream is not held back.
  const mayMove = exchange.method === 'POST' && exchange.replayable
  if (verdict.kind !== 'pass' || !mayMove) return { answer, verdict }
  if (answer.status === 200 && answer.response.headers['content-length'] === '0')
    return { answer, verdict: { kind: 'unavailable', reason: 'empty_answer' } }
  return streams(answer) ? lookEarly(answer, exchange) : { answer, verdict }
}

/** Whether an answer is a stream of events that can be read. */
function streams({ response: { headers } }: HeldAnswer): boolean {
  const events = headers['content-type']?.startsWith('text/event-stream') ?? false
  return events && isPlain(headers['content-encoding'])
}

/** Some refusals come as the first event of a 200 stream, and some streams end or break before they have begun. */
async function lookEarly(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  const { classifyEvent } = exchange.provider
  // Without a reader of events, any byte is output.
  if (!classifyEvent) {
    const begun = await hold(answer, { ...FIRST_EVENTS, enough: () => true })
    return { answer: begun, verdict: soundness(begun, !begun.ended || begun.begun.length > 0) }
  }
  let found: Verdict | 'output' | undefined
  let decisive: unknown
  const look = eventParser((event) => {
    found ??= classifyEvent((decisive = event), exchange)
  })
  const enough = (chunk: Buffer): boolean => {
    look(chunk)
    return found !== undefined
  }
  const begun = await hold(answer, { ...FIRST_EVENTS, enough })
  // Once more, now that the body can be read: a repair is made from it.
  if (typeof found === 'object') found = await exchange.readingBody(() => classifyEvent(decisive, exchange))
  return { answer: begun, verdict: typeof found === 'object' ? found : soundness(begun, found === 'output') }
}

/** Reads server-sent events whose data is JSON; other data is skipped. Takes the stream in any pieces. */
export function eventParser(onEvent: (event: unknown) => void): (chunk: Buffer) => void {
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent: ({ data }) => {
      const event = parsed(data)
      if (event !== undefined) onEvent(event)
    },
  })
  return (chunk) => parser.feed(decoder.decode(chunk, { stream: true }))
}

/** A stream that is over before any output is no answer: the client would have to ask again, in its user's sight. */
function soundness({ begun, ended, response }: HeldAnswer, output: boolean): Verdict {
  if (!ended && response.destroyed) return { kind: 'unavailable', reason: 'broken_answer' }
  if (!ended || output) return { kind: 'pass' }
  return { kind: 'unavailable', reason: begun.length === 0 ? 'empty_answer' : 'answer_without_output' }
}

async function classify(answer: HeldAnswer, exchange: Exchange): Promise<Verdict> {
  const { status, response } = answer
  const { headers } = response
  const body = status >= 400 ? await textOf(answer) : ''
  const seen: UpstreamAnswer = { status, headers, body, json: () => parsed(body) }
  return exchange.readingBody(() => exchange.provider.classify?.(seen, exchange) ?? { kind: 'pass' })
}

export interface HoldOptions {
  readonly maxBytes: number
  readonly maxMs: number
  /** Called with each chunk; `true` ends the hold before a bound is reached. */
  readonly enough?: (chunk: Buffer) => boolean
}

/** Reads the beginning of an answer and keeps it, so that it can still be dropped, or sent on as a whole. */
export function hold(answer: HeldAnswer, options: HoldOptions): Promise<HeldAnswer> {
  const { response } = answer
  return new Promise((resolve) => {
    const begun = [...answer.begun]
    let size = 0
    const stop = () => {
      clearTimeout(timer)
      response.off('data', onData).off('end', stop).off('close', stop)
      response.pause()
      // An answer that has arrived as a whole emits `end` a moment later, paused or not: `end` must not be waited for.
      const ended = response.complete && response.readableLength === 0
      resolve({ ...answer, begun, ended })
    }
    const onData = (chunk: Buffer) => {
      begun.push(chunk)
      size += chunk.length
      if (options.enough?.(chunk) || size >= options.maxBytes) stop()
    }
    const timer = setTimeout(stop, options.maxMs)
    response.on('data', onData).once('end', stop).once('close', stop)
  })
}

/** The text of an answer's beginning; empty if it cannot be decoded: then the answer is judged by its status alone. */
export function textOf({ begun, response }: HeldAnswer): Promise<string> {
  return decodeText(Buffer.concat(begun), response.headers['content-encoding'])
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
