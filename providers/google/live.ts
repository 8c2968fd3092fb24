import type { ClientRequest, Provider, SocketProtocol } from '../../config/provider.js'
import { type Fields, fields, text } from '../json.js'
import { geminiPath } from './paths.js'

const PATH =
  /^\/ws\/google\.ai\.generativelanguage\.v1(?:alpha|beta)?\.GenerativeService\.BidiGenerateContent(?:Constrained)?$/

/** The status that Google gives the same words over HTTP. A close frame has codes of its own (RFC 6455 §7.4.1). */
function statusOf(code: number, reason: string): number {
  if (/\bquota\b|exhausted|rate limit/i.test(reason)) return 429
  if (/not found/i.test(reason)) return 404
  return code === 1007 || code === 1008 ? 400 : 503
}

const setupOf = (message: unknown): Fields | undefined => fields(fields(message)?.setup)
const usageOf = (message: unknown): Fields | undefined => fields(fields(message)?.usageMetadata)

export const isLive = ({ path }: Pick<ClientRequest, 'path'>): boolean => PATH.test(geminiPath(path))

/** The model of the message that sets a session up. */
export const liveModel = (message: unknown): string | undefined =>
  text((setupOf(message) ?? fields(message))?.model)?.replace(/^models\//, '')

/**
 * Live sessions of the Gemini API. The first message sets the session up; it can be sent to another account while it is
 * not answered. A refusal of the key or the model comes as the reason of a close frame. Google sends JSON in binary messages.
 */
export function liveSocket(classifyEvent: NonNullable<Provider['classifyEvent']>): SocketProtocol {
  return {
    serves: isLive,
    asks: '"setup"',
    binary: true,
    begins: (message) => {
      return setupOf(message) && { model: liveModel(message), counts: false }
    },
    // Only the account of a session has the state from which the session is resumed.
    isWhole: (message) => text(fields(setupOf(message)?.sessionResumption)?.handle) === undefined,
    answers: (message) => (usageOf(message) ? { counts: true } : undefined),
    ends: (message) => fields(message)?.setupComplete !== undefined || usageOf(message) !== undefined,
    reads: new Set(),
    closes: (code, reason, request) => {
      if (code === 1000 || reason === '') return undefined
      const verdict = classifyEvent({ error: { code: statusOf(code, reason), message: reason } }, request)
      return typeof verdict === 'object' ? verdict : undefined
    },
    reconnect: undefined,
    exhausted: () => undefined,
  }
}
