import type { ServerResponse } from 'node:http'
import type { Fault, FaultFunction } from '../../../src/simulator/index.js'
import { EVENT_STREAM } from '../../kit/stream.js'
import type { Front } from './fronts.js'
import { again, networkDown, stays, type Row } from './row.js'

const raw =
  (text: string): FaultFunction =>
  (_request, { socket }) =>
    void socket!.write(text, () => socket!.end())

const same = (fault: Fault) => () => fault

/** What can become of a connection. */
export const connections: readonly Row[] = [
  { fault: 'connection refused', line: 'refused', outcome: networkDown(502) },
  { fault: 'name not found (DNS)', line: 'no such name', outcome: networkDown(502) },
  { fault: 'TLS certificate not trusted', line: 'bad certificate', outcome: networkDown(502) },
  {
    fault: 'no TLS handshake in time',
    line: 'no handshake',
    retry: { connectTimeoutMs: 100 },
    outcome: networkDown(504),
  },
  { fault: 'reset before the head', does: same('reset'), outcome: networkDown(502) },
  { fault: 'reset after the work, before the head', does: same('lost'), outcome: networkDown(502) },
  {
    fault: 'half-closed before the head',
    does: same((_, { socket }) => void socket!.end()),
    outcome: networkDown(502),
  },
  {
    fault: 'no head in time',
    does: same('hang'),
    retry: { headersTimeoutMs: 60 },
    outcome: networkDown(504),
  },
  { fault: 'kept-alive socket gone stale', does: same('reset'), times: 1, warm: true, outcome: again },
  { fault: 'invalid HTTP', does: same(raw('this is no HTTP\r\n\r\n')), outcome: networkDown(502) },
  {
    fault: 'oversized response headers',
    does: same(raw(`HTTP/1.1 200 OK\r\nx-large: ${'x'.repeat(100_000)}\r\n\r\n`)),
    outcome: networkDown(502),
  },
  { fault: 'half-closed after output', does: halfClosed, outcome: stays('broken') },
  { fault: 'informational responses (102, 103) in front', does: informed, outcome: stays('answer') },
  { fault: 'trailers', does: trailed, outcome: stays('answer') },
]

function halfClosed({ sample }: Front): Fault {
  return (_request, response) => {
    response.writeHead(200, EVENT_STREAM).write(sample, () => response.socket!.end())
  }
}

function informed({ sample }: Front): Fault {
  return (_request, response) => {
    response.writeProcessing()
    response.writeEarlyHints({ link: '</style.css>; rel=preload' })
    whole(response, sample)
  }
}

function trailed({ sample }: Front): Fault {
  return (_request, response) => {
    response.writeHead(200, { ...EVENT_STREAM, trailer: 'x-checksum' }).write(sample)
    response.addTrailers({ 'x-checksum': 'abc' })
    response.end()
  }
}

function whole(response: ServerResponse, sample: string): void {
  response.writeHead(200, EVENT_STREAM).end(sample)
}
