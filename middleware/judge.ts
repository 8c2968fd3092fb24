import type { Transform } from 'node:stream'
import { finished } from 'node:stream/promises'
import { parseJson } from '../config/index.js'
import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import { decodeText, decoderOf, isPlain } from './decode.js'
import { Beginning, type EventReader, eventReader, type Form } from './events.js'
import type { Exchange } from './exchange.js'
import type { HeldAnswer } from './forward.js'

/** A refusal's body is read so far, and no longer, to find its reason. */
const REFUSAL = { maxBytes: 64 * 1024, maxMs: 2_000 }
/** Bytes of events without output that are held back. `response.created` alone repeats instructions and tools. */
const LONGEST_PRELUDE = 1024 * 1024

/** A status that cannot be passed on, such as a 101 that the client has not asked for. */
const BAD_ANSWER: Verdict = { kind: 'unavailable', reason: 'bad_answer' }
/** The stream told the tokens it used, so it was at its end, but it showed the user nothing. */
export const NO_OUTPUT = 'finished_without_output'

export interface Judged {
  readonly verdict: Verdict
  /** The answer with the part of its body that had to be read. */
  readonly answer: HeldAnswer
}

/** Asks the provider for a verdict on an answer, before any of it has reached the client. */
export async function judge(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  const { status, response } = answer
  if (status < 200 || status > 599)
    return { answer, verdict: exchange.upgrades ? await classify(answer, exchange) : BAD_ANSWER }
  if (status >= 400) {
    const read = await hold(answer, REFUSAL)
    const verdict = await classify(read, exchange)
    // Some accounts and some of an upstream's servers do not know a path of generation that others serve.
    const generates = exchange.upgrades || (exchange.method === 'POST' && exchange.usesQuota)
    const elsewhere = status === 404 && verdict.kind === 'pass' && (generates || asksUnknown(exchange))
    if (elsewhere) return { answer: read, verdict: { kind: 'refused', reason: 'not_found' } }
    // An account that does not know another account's resource is not at fault.
    const ofThing = status === 403 && verdict.kind === 'refused' && asksUnknown(exchange)
    return { answer: read, verdict: ofThing ? { ...verdict, model: undefined } : verdict }
  }
  const verdict = await classify(answer, exchange)
  if (verdict.kind !== 'pass' || !mayMove(exchange)) return { answer, verdict }
  if (status === 200 && response.headers['content-length'] === '0')
    return { answer, verdict: { kind: 'unavailable', reason: 'empty_answer' } }
  const encoding = response.headers['content-encoding']
  const decoder = isPlain(encoding) ? undefined : decoderOf(encoding)
  if (!isPlain(encoding) && (answer.form || exchange.keepAlive?.begun))
    return { answer, verdict: { kind: 'unavailable', reason: 'compressed_answer' } }
  if (!isPlain(encoding) && !decoder) return { answer, verdict }
  const type = response.headers['content-type']?.toLowerCase() ?? ''
  if (type.includes('text/html')) return { answer, verdict: { kind: 'unavailable', reason: 'not_an_answer' } }
  const streams =
    type.includes('text/event-stream') ||
    answer.form !== undefined ||
    (await exchange.readingBody(() => asksStream(exchange)))
  if (streams) return lookEarly(answer, exchange, decoder)
  return exchange.usesQuota && type.includes('json') ? lookAtWhole(answer, exchange) : { answer, verdict }
}

/** Whether the request names a resource whose account is not known. */
const asksUnknown = ({ resources, home }: Exchange): boolean => resources.size > 0 && home === undefined

/** How an error stands in a whole answer: as a field of its own, or as the first field. */
const ERROR_IN_WHOLE =
  /"error"\s*:\s*[{["]|^\s*(?:\[\s*)?\{\s*"(?:detail|errors?|code|status|status_code|message|type)"/

/** Reads a JSON answer as a whole: some gateways in front of an upstream write its refusal under the status 200. */
async function lookAtWhole(answer: HeldAnswer, exchange: Exchange): Promise<Judged> {
  const whole = await hold(answer, {
    maxBytes: LONGEST_PRELUDE,
    idleMs: exchange.route.retry.idleTimeoutMs,
  })
  if (whole.late) return { answer: whole, verdict: { kind: 'unavailable', reason: 'idle_timeout' } }
  if (!whole.ended && whole.response.destroyed)
    return { answer: whole, verdict: { kind: 'unavailable', reason: 'broken_answer' } }
  const text = whole.ended ? await textOf(whole) : ''
  if (!ERROR_IN_WHOLE.test(text)) return { answer: whole, verdict: { kind: 'pass' } }
  const json = parseJson(text)
  const verdict = await exchange.readingBody(() => exchange.provider.classifyEvent?.(json, exchange))
  return { answer: whole, verdict: typeof verdict === 'object' ? verdict : { kind: 'pass' } }
}

/** Whether another account could still be asked. If not, the answer is not held back. */
function mayMove(exchange: Exchange): boolean {
  return exchange.method === 'POST' && exchange.replayable && exchange.body.kind !== 'streaming'
}

/** Whether the client wants its answer as a stream, as OpenAI's and Google's APIs say it. */
function asksStream(exchange: Exchange): boolean {
  if (exchange.path.endsWith(':streamGenerateContent')) return true
  return (exchange.json() as { stream?: unknown } | undefined)?.stream === true
}

/**
 * Holds a stream back until its first event that shows the client's user something. Some refusals come before it, and
 * some streams end or break there: then another account can still be asked, unseen by the client.
 */
async function lookEarly(
  answer: HeldAnswer,
  exchange: Exchange,
  decoder: Transform | undefined,
): Promise<Judged> {
  const look = new EarlyLook(exchange, decoder === undefined)
  let stop = () => {}
  decoder?.on('data', (chunk: Buffer) => look.read(chunk) && stop()).on('error', () => stop())
  const begun = await hold(answer, {
    maxBytes: LONGEST_PRELUDE,
    idleMs: exchange.route.retry.idleTimeoutMs,
    onChunk: (chunk, enough) => {
      stop = enough
      if (decoder) decoder.write(chunk)
      else if (look.read(chunk)) enough()
    },
  })
  // The last events leave a decoder only at its end.
  if (decoder && begun.ended) await finished(decoder.end()).catch(() => {})
  decoder?.destroy()
  exchange.keepAlive?.pause()
  return {
    answer: { ...begun, harmless: look.harmless, made: look.made },
    verdict: await look.verdict(begun),
  }
}

/** Reads the beginning of a stream up to the event that decides. */
class EarlyLook {
  #found: Verdict | 'output' | 'no-stream' | undefined
  /** The event that decided. */
  #decisive: unknown
  readonly #beginning = new Beginning()
  #form: Form | undefined
  #finished = false
  /** Types of the events that are no failure. */
  readonly harmless = new Set<string>()
  /** Names of the resources in the first event: a client that leaves early may ask for the response later. */
  made: readonly string[] = []
  #reader: EventReader | undefined

  constructor(
    private readonly exchange: Exchange,
    /** Whether the client could read further events in front of this stream. */
    private readonly plain: boolean,
  ) {}

  /** Returns whether enough has been read. */
  read(chunk: Buffer): boolean {
    if (this.#reader) this.#reader(chunk)
    else {
      const begun = this.#beginning.add(chunk)
      if (!begun) return false
      this.#form = begun.form
      this.#reader = this.#readerOf(begun.form)
      this.#reader(begun.bytes)
    }
    return this.#found !== undefined
  }

  #readerOf(form: Form): EventReader {
    const { exchange } = this
    const { keepAlive } = exchange
    if (form === 'other') this.#found = 'no-stream'
    // Without a function that judges events, any byte is output.
    else if (!exchange.provider.classifyEvent) this.#found = 'output'
    else if (form !== 'object') {
      if (form === 'events' && this.plain) keepAlive?.start()
      return eventReader(form, (event) => this.#onEvent(event))
    }
    // An object is read as a whole: it may be an error.
    return () => {}
  }

  #onEvent(event: unknown): void {
    if (this.#found !== undefined) return
    const { provider } = this.exchange
    this.#decisive = event
    if (this.harmless.size === 0) this.made = provider.resourcesMade?.(event, {}) ?? []
    this.#found = provider.classifyEvent?.(event, this.exchange)
    this.#finished ||= provider.usage?.(event) !== undefined
    const type = (event as { type?: unknown } | null)?.type
    if (typeof type === 'string' && typeof this.#found !== 'object') this.harmless.add(type)
  }

  async verdict(begun: Held): Promise<Verdict> {
    const { exchange } = this
    if (this.#found === 'output') return { kind: 'pass' }
    if (this.#found === undefined && this.#form !== 'object') {
      const verdict = withoutOutput(begun)
      return verdict.kind === 'unavailable' && this.#finished && begun.ended
        ? { ...verdict, reason: NO_OUTPUT }
        : verdict
    }
    if (this.#found === undefined) this.#decisive = parseJson(await textOf(begun))
    // An event is judged once more, now that the body can be read: a repair is made from it.
    const verdict = await exchange.readingBody(() =>
      exchange.provider.classifyEvent?.(this.#decisive, exchange),
    )
    if (typeof this.#found === 'object') return typeof verdict === 'object' ? verdict : { kind: 'pass' }
    if (typeof verdict === 'object' && verdict.kind !== 'pass') return verdict
    const wrong = begun.form !== undefined || (await exchange.readingBody(() => asksStream(exchange)))
    return wrong ? { kind: 'unavailable', reason: 'not_a_stream' } : { kind: 'pass' }
  }
}

/** A stream without output is no answer if it is over: the client would have to ask again, in its user's sight. */
function withoutOutput({ begun, ended, late, response }: Held): Verdict {
  if (late) return { kind: 'unavailable', reason: 'idle_timeout' }
  if (!ended) return response.destroyed ? { kind: 'unavailable', reason: 'broken_answer' } : { kind: 'pass' }
  return { kind: 'unavailable', reason: begun.length === 0 ? 'empty_answer' : 'answer_without_output' }
}

/** Whether a refusal speaks of the account's login or rights: the client would take that for its own login. */
export function isOfLogin(status: number, verdict: Verdict): boolean {
  const { kind } = verdict
  if (status === 401 || status === 403 || kind === 'unauthorized' || kind === 'needs-login') return true
  return kind !== 'pass' && verdict.ofLogin === true
}

async function classify(answer: HeldAnswer, exchange: Exchange): Promise<Verdict> {
  const { status, response } = answer
  const { headers } = response
  const body = status >= 400 ? await textOf(answer) : ''
  const seen: UpstreamAnswer = { status, headers, body, json: () => parseJson(body) }
  return exchange.readingBody(() => exchange.provider.classify?.(seen, exchange) ?? { kind: 'pass' })
}

export interface HoldOptions {
  readonly maxBytes: number
  /** Of the whole hold. @default none */
  readonly maxMs?: number
  /** Of silence. @default none */
  readonly idleMs?: number
  /** Called with each chunk; `enough` ends the hold before a bound is reached. */
  readonly onChunk?: (chunk: Buffer, enough: () => void) => void
}

interface Held extends HeldAnswer {
  /** Whether a time limit ended the hold. */
  readonly late: boolean
}

/** Reads the beginning of an answer and keeps it, so that it can still be dropped, or sent on as a whole. */
export function hold(answer: HeldAnswer, options: HoldOptions): Promise<Held> {
  const { response } = answer
  const { maxBytes, maxMs, idleMs, onChunk } = options
  return new Promise((resolve) => {
    const begun = [...answer.begun]
    let size = 0
    const stop = (late = false) => {
      clearTimeout(timer)
      response.off('data', onData).off('end', onEnd).off('close', onEnd)
      response.pause()
      // An answer that has arrived as a whole emits `end` a moment later, paused or not: `end` must not be waited for.
      const ended = response.complete && response.readableLength === 0
      resolve({ ...answer, begun, ended, late })
    }
    const onEnd = () => stop()
    const onData = (chunk: Buffer) => {
      begun.push(chunk)
      size += chunk.length
      if (idleMs !== undefined) timer.refresh()
      onChunk?.(chunk, onEnd)
      if (size >= maxBytes) stop()
    }
    const timer = setTimeout(() => stop(true), maxMs ?? idleMs)
    // An answer that has been read to its end, or that broke meanwhile, emits no further event.
    if (answer.ended || response.readableEnded || response.destroyed) return stop()
    response.on('data', onData).once('end', onEnd).once('close', onEnd)
  })
}

/** The text of an answer's beginning; empty if it cannot be decoded: then the answer is judged by its status alone. */
export function textOf({ begun, response }: HeldAnswer): Promise<string> {
  return decodeText(Buffer.concat(begun), response.headers['content-encoding'])
}
