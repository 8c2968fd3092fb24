import type { SocketProtocol } from '../../config/provider.js'
import { fields, text } from '../json.js'

const typeOf = (message: unknown): string => text(fields(message)?.type) ?? ''

/**
 * Realtime sessions of OpenAI's API, `/v1/realtime`. A response to speech is begun by the upstream, so its messages tell
 * when one begins and ends. No message makes the client connect again.
 */
export const realtimeSocket: SocketProtocol = {
  serves: () => true,
  asks: false,
  begins: () => undefined,
  answers: (message) => (typeOf(message) === 'response.created' ? { counts: true } : undefined),
  ends: (message) => typeOf(message) === 'response.done',
  reads: new Set(['response.created', 'response.done', 'error']),
  reconnect: undefined,
  exhausted: () => undefined,
}
