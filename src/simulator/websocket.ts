import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'
import { answerOf, type LiveExchange, scriptFailed } from './deliver.js'
import { type FaultScript, type FrameFault, Pause, type WireFault } from './fault.js'
import { parse } from './json.js'
import type { SimRequest } from './request.js'
import type { Dialogue } from './upstream.js'

export interface Conversation {
  /** The request for the WebSocket, its connection, and the bytes that came right behind it. */
  readonly message: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  /** Headers of the 101. */
  readonly headers: OutgoingHttpHeaders
  readonly request: SimRequest
  readonly exchange: LiveExchange
  readonly dialogue: Dialogue
  readonly script: FaultScript
  /** Pause before each frame; ms. */
  readonly pauseMs: number
}

/** Opens a WebSocket and answers its frames one after the other, as the real upstreams do. */
export function converse(conversation: Conversation): void {
  const { message, socket, head, headers, exchange } = conversation
  const server = new WebSocketServer({ noServer: true, clientTracking: false })
  server.on('headers', (lines) => {
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${String(value)}`)
  })
  let answered = Promise.resolve()
  // A malformed handshake gets its 4xx here, and no WebSocket.
  server.handleUpgrade(message, socket, head, (line) => {
    exchange.opened()
    line.on('message', (data) => {
      const frame = parse(String(data)) ?? String(data)
      exchange.frames.push(frame)
      answered = answered.then(() => answer(line, frame, conversation))
    })
    line.on('close', (code) => exchange.ended(code))
    // A broken frame is followed by a close. Without this listener it would end the process.
    line.on('error', () => undefined)
  })
}

async function answer(line: WebSocket, frame: unknown, conversation: Conversation): Promise<void> {
  const { script, request, dialogue } = conversation
  if (line.readyState !== line.OPEN) return
  try {
    await answerFrame(line, frame, script.takeFrame(request, frame), conversation)
  } catch (error) {
    await send(line, dialogue.refuse(frame, scriptFailed(error)))
  }
}

async function answerFrame(
  line: WebSocket,
  frame: unknown,
  fault: FrameFault | undefined,
  { dialogue, exchange, pauseMs }: Conversation,
): Promise<void> {
  if (fault === 'hang') return
  const wire: WireFault =
    fault === 'reset' || fault === 'lost' ? { ending: 'cut' } : typeof fault === 'object' ? fault : {}
  const frames = fault === 'reset' ? [] : framesOf(frame, wire, dialogue)
  if (fault === 'mute') return
  const wait = wire.pauseMs ?? pauseMs
  for (const each of frames) {
    const ms = each instanceof Pause ? each.ms : wait
    if (ms > 0) await pause(ms)
    if (line.readyState !== line.OPEN) return
    if (!(each instanceof Pause)) await send(line, each, dialogue.binary)
  }
  const close = dialogue.ends?.(frame)
  if (close) line.close(close.code, close.reason)
  if (wire.ending !== 'cut' && wire.ending !== 'end') return
  exchange.ending()
  if (wire.ending === 'cut') line.terminate()
  else line.close(wire.close?.code ?? 1000, wire.close?.reason ?? '')
}

function framesOf(frame: unknown, fault: WireFault, dialogue: Dialogue): readonly object[] {
  const refusal = answerOf(fault)
  const worked = refusal && fault.after === undefined ? [] : dialogue.receive(frame)
  const wanted = fault.events?.(worked) ?? worked
  const sent = refusal || fault.ending ? wanted.slice(0, fault.after ?? 0) : wanted
  return refusal ? [...sent, dialogue.refuse(frame, refusal)] : sent
}

/** Settles when the network has taken the frame, or the client is gone. */
const send = (line: WebSocket, frame: object, binary = false): Promise<void> =>
  new Promise((resolve) => line.send(JSON.stringify(frame), { binary }, () => resolve()))
