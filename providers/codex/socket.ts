import type { SocketProtocol } from '../../config/provider.js'
import { fields, text } from '../json.js'
import { usageLimit } from './answers.js'
import { withPoolQuota } from './pool-quota.js'
import { realtimeSocket } from './realtime.js'
import { placeOf } from './requests.js'

const TURN_STATE = 'x-codex-turn-state'
const OVER = new Set(['response.completed', 'response.failed', 'response.incomplete', 'error'])

/** How Codex talks over WebSockets: one message holds the JSON of one event of a stream. */
export const codexSocket: SocketProtocol = {
  instead: ({ path }) => (/^\/realtime\b/.test(placeOf(path).rest) ? realtimeSocket : undefined),
  serves: ({ path }) => {
    const { area, rest } = placeOf(path)
    return area === 'responses' && rest === '/responses'
  },
  begins: (message) => {
    const request = fields(message)
    if (request?.type !== 'response.create') return undefined
    // `generate: false` opens the connection before there is a prompt.
    return { model: text(request.model), counts: request.generate !== false }
  },
  ends: (message) => OVER.has(text(fields(message)?.type) ?? ''),
  reads: new Set([...OVER, 'codex.rate_limits', 'response.metadata']),
  withPoolQuota,
  bound: (message) => {
    const body = fields(message)
    const state =
      text(fields(body?.headers)?.[TURN_STATE]) ?? text(fields(body?.client_metadata)?.[TURN_STATE])
    return Object.fromEntries(state === undefined ? [] : [[TURN_STATE, state]])
  },
  withoutBound: (message, names) => {
    const body = fields(message) ?? {}
    const kept = Object.entries(fields(body.client_metadata) ?? {}).filter(([name]) => !names.includes(name))
    return { ...body, client_metadata: Object.fromEntries(kept) }
  },
  isWhole: (message) => text(fields(message)?.previous_response_id) === undefined,
  keepAlive: { type: 'keepalive' },
  // On this error Codex connects again and resends its whole input without a word to its user.
  reconnect: {
    type: 'error',
    status: 400,
    error: {
      type: 'invalid_request_error',
      code: 'websocket_connection_limit_reached',
      message: 'Please open a new connection.',
    },
  },
  exhausted: (exhaustion) => ({ type: 'error', status: 429, error: usageLimit(exhaustion) }),
}
