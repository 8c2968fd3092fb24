import { setTimeout as pause } from 'node:timers/promises'
import { instead, scriptFailed } from './act.js'
import type { FrameFault, WireFault } from './fault.js'
import type { FaultScript } from './fault-script.js'
import type { Handshake } from './handshake.js'
import { parse } from './json.js'
import type { SimRequest } from './request.js'
import type { Dialogue } from './upstream.js'
import { type Connection, openWebSocket, type WebSocketLine } from './websocket.js'

export interface Conversation {
  readonly request: SimRequest
  readonly handshake: Handshake
  readonly dialogue: Dialogue
  readonly script: FaultScript
  /** Pause before each frame; ms. */
  readonly pauseMs: number
}

/** Opens a WebSocket and answers its frames one after the other, as the real upstreams do. */
export function converse(connection: Connection, conversation: Conversation): void {
  const { dialogue, handshake, script, request } = conversation
  let answered = Promise.resolve()
  const line = openWebSocket(connection, {
    frame(source) {
      const frame = parse(source) ?? source
      handshake.frames.push(frame)
      answered = answered.then(() => answer(frame))
    },
    closed: (code) => handshake.ended(code),
  })
  if (line) handshake.opened()

  async function answer(frame: unknown): Promise<void> {
    if (!line?.open) return
    try {
      await answerFrame(line, frame, script.takeFrame(request, frame), conversation)
    } catch (error) {
      await send(line, dialogue.refuse(frame, scriptFailed(error)))
    }
  }
}

async function answerFrame(
  line: WebSocketLine,
  frame: unknown,
  fault: FrameFault | undefined,
  { dialogue, handshake, pauseMs }: Conversation,
): Promise<void> {
  if (fault === 'hang') return
  const wire: WireFault = fault === 'reset' || fault === 'lost' ? { ending: 'cut' } : faultOnWire(fault)
  const frames = fault === 'reset' ? [] : framesOf(frame, wire, dialogue)
  if (fault === 'mute') return
  const wait = wire.pauseMs ?? pauseMs
  for (const each of frames) {
    if (wait > 0) await pause(wait)
    if (!line.open) return
    await send(line, each)
  }
  end(line, wire, handshake)
}

const faultOnWire = (fault: FrameFault | undefined): WireFault => (typeof fault === 'object' ? fault : {})

function framesOf(frame: unknown, fault: WireFault, dialogue: Dialogue): readonly object[] {
  const refusal = instead(fault)
  const worked = refusal && fault.after === undefined ? [] : dialogue.receive(frame)
  const wanted = fault.events?.(worked) ?? worked
  const sent = refusal || fault.ending ? wanted.slice(0, fault.after ?? 0) : wanted
  return refusal ? [...sent, dialogue.refuse(frame, refusal)] : sent
}

function end(line: WebSocketLine, { ending, close }: WireFault, handshake: Handshake): void {
  if (ending !== 'cut' && ending !== 'end') return
  handshake.ending()
  if (ending === 'cut') line.terminate()
  else line.close(close?.code ?? 1000, close?.reason ?? '')
}

const send = (line: WebSocketLine, frame: object): Promise<void> => line.send(JSON.stringify(frame))
