import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { field } from '../../../src/simulator/index.js'

/** One presentation of a refresh token that the issuer accepted. */
export interface Rotation {
  /** The process that presented it: the first part of the path. */
  readonly by: string
  readonly presented: string
  readonly issued: string
}

/** A proxy before the issuer that notes which process presents which token: a killed process cannot tell. */
export interface Relay {
  readonly url: string
  readonly rotations: readonly Rotation[]
  /** Refresh tokens that the issuer said were used before, each as often as it was presented. */
  readonly reused: readonly string[]
  /** So many calls of this one have arrived. */
  called(by: string, times: number): Promise<void>
  /** Every call of this one has come to its end. */
  idle(by: string): Promise<void>
  close(): Promise<void>
}

export async function openRelay(issuer: string): Promise<Relay> {
  const rotations: Rotation[] = []
  const reused: string[] = []
  const running = new Map<string, Promise<unknown>>()
  const calls = new EventEmitter().setMaxListeners(0)

  async function pass(by: string, path: string, body: string): Promise<{ status: number; answer: string }> {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(issuer + path, { method: 'POST', headers, body })
    const answer = await response.text()
    const presented = String(field(JSON.parse(body), 'refresh_token'))
    if (response.ok)
      rotations.push({ by, presented, issued: String(field(JSON.parse(answer), 'refresh_token')) })
    else if (answer.includes('refresh_token_reused')) reused.push(presented)
    return { status: response.status, answer }
  }

  const server = createServer(async (request, response) => {
    const [, by = '', path = ''] = /^\/([^/]+)(.*)$/.exec(request.url!) ?? []
    const body = await text(request).catch(() => undefined)
    // Half a request: the process was killed while sending it.
    if (body === undefined) return
    calls.emit(by)
    const passing = pass(by, path, body)
    running.set(by, Promise.allSettled([running.get(by), passing]))
    const { status, answer } = await passing
    response.writeHead(status, { 'content-type': 'application/json' }).end(answer)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rotations,
    reused,
    async called(by, times) {
      for (let count = 0; count < times; count++) await once(calls, by)
    },
    idle: async (by) => void (await running.get(by)),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
