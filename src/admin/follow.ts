import type { RequestHandler } from 'express'
import { redactAll } from '../../config/index.js'
import type { Events, GatewayEvents, RequestEvent } from '../telemetry/events.js'

/** A request that has ended, or a sentence about an account. `at` is ISO 8601. */
export interface LogEntry {
  readonly at: string
  readonly request?: RequestEvent | undefined
  readonly event?: string | undefined
}

/** A reader that is slower than this many bytes loses entries. */
const MOST_WAITING = 1024 * 1024

/** Clients give up an answer that is silent for five minutes; ms. */
const ALIVE_MS = 60_000

/** `/admin/log`: what happens from now on, one JSON document a line, until the reader leaves. */
export function follow(events: Events): RequestHandler {
  return function follow(_request, response) {
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    response.flushHeaders()
    const send = (entry: Omit<LogEntry, 'at'>) => {
      if (response.writableLength > MOST_WAITING) return
      response.write(`${JSON.stringify(redactAll({ at: new Date().toISOString(), ...entry }))}\n`)
    }
    const request = (request: RequestEvent) => send({ request })
    const state = ({ account, from, to }: GatewayEvents['state'][0]) =>
      send({ event: `${account} is ${to}, was ${from}` })
    const cooldown = ({ account, kind, reason, model }: GatewayEvents['cooldown'][0]) =>
      send({ event: `${account} is ${kind}${model === undefined ? '' : ` for ${model}`}: ${reason}` })
    const refresh = ({ account, outcome }: GatewayEvents['refresh'][0]) =>
      send({ event: `${account}: token ${outcome}` })
    events.on('request', request).on('state', state).on('cooldown', cooldown).on('refresh', refresh)
    const end = () => void response.end()
    events.once('drain', end)
    const alive = setInterval(() => response.write('\n'), ALIVE_MS).unref()
    response.once('close', () => {
      clearInterval(alive)
      events.off('request', request).off('state', state).off('cooldown', cooldown).off('refresh', refresh)
      events.off('drain', end)
    })
  }
}
