import type { ServerResponse } from 'node:http'
import { setImmediate as turnOver, setTimeout as pause } from 'node:timers/promises'
import { constants, createGzip, type Gzip } from 'node:zlib'
import type { Answer } from './answer.js'
import { breakOff } from './break-off.js'
import type { WireFault } from './fault.js'

/** Puts an answer on the wire, damaged as the fault says. Ends early, without a throw, when the client leaves. */
export async function deliver(
  response: ServerResponse,
  answer: Answer,
  fault: WireFault = {},
): Promise<void> {
  const line = openLine(response, answer, fault)
  const pieces = answer.stream ? streamPieces(answer.stream, fault) : bodyPieces(answer.body, fault)
  for (const piece of pieces) {
    if (fault.pauseMs) await pause(fault.pauseMs)
    if (response.destroyed) return
    await line.write(piece)
  }
  if (fault.ending === 'stall') return
  if (fault.ending === 'cut') return cut(response)
  await line.end()
}

/** Node holds what was written back until the turn is over, and a connection destroyed before that loses it. */
async function cut(response: ServerResponse): Promise<void> {
  await turnOver()
  breakOff(response)
}

function streamPieces({ events, frame }: NonNullable<Answer['stream']>, fault: WireFault): string[] {
  const wanted = fault.events?.(events) ?? events
  return (fault.ending ? wanted.slice(0, fault.after ?? 0) : wanted).map(frame)
}

function bodyPieces(body: unknown, fault: WireFault): string[] {
  if (body === undefined) return []
  const whole = typeof body === 'string' ? body : JSON.stringify(body)
  return [fault.ending ? whole.slice(0, whole.length / 2) : whole]
}

interface Line {
  write(piece: string): Promise<void>
  end(): Promise<void>
}

/** Sends the head at once, so that a client can tell "answers, but no event yet" from "does not answer". */
function openLine(response: ServerResponse, answer: Answer, fault: WireFault): Line {
  const headers = { ...answer.headers, ...fault.headers }
  if (fault.gzip) headers['content-encoding'] = 'gzip'
  const whole = !answer.stream && !fault.gzip && !fault.ending && !fault.pauseMs
  if (whole) headers['content-length'] = Buffer.byteLength(bodyPieces(answer.body, {}).join(''))
  response.writeHead(answer.status, headers)
  if (!whole) response.flushHeaders()
  return fault.gzip ? compressed(response) : plain(response)
}

function plain(response: ServerResponse): Line {
  return {
    write: (piece) => (response.write(piece) ? Promise.resolve() : drained(response)),
    end: async () => void response.end(),
  }
}

function compressed(response: ServerResponse): Line {
  const gzip = createGzip()
  gzip.pipe(response)
  return { write: (piece) => flushed(gzip, piece), end: async () => void gzip.end() }
}

/** Each event is flushed: a client must not have to wait for the end of the stream to decode the first one. */
function flushed(gzip: Gzip, piece: string): Promise<void> {
  return new Promise((resolve) => {
    gzip.write(piece)
    gzip.flush(constants.Z_SYNC_FLUSH, () => resolve())
  })
}

/** Without the close, a client that leaves while its socket is full would keep this waiting for ever. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
