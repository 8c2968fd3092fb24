import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import { header } from './reading.js'
import { retryAfterMs } from './reading.js'

/** Judges an answer by its status alone, as RFC 9110 means it. */
export function statusVerdict(answer: UpstreamAnswer): Verdict {
  const { status } = answer
  const reason = `http_${status}`
  const wait = retryAfterMs(header(answer.headers, 'retry-after'))
  if (status === 401) return { kind: 'unauthorized', reason }
  if (status === 402) return { kind: 'exhausted', reason }
  if (status === 403)
    return isPage(answer) ? { kind: 'unavailable', reason: 'challenge_page' } : { kind: 'refused', reason }
  if (status === 429) return { kind: 'cooling', reason, retryAfterMs: wait }
  if (status === 408 || status >= 500) return { kind: 'unavailable', reason, retryAfterMs: wait }
  return { kind: 'pass' }
}

/** A page for a browser, such as a challenge of the network in front of the upstream: no word about an account. */
export function isPage({ headers, body }: UpstreamAnswer): boolean {
  if (header(headers, 'cf-mitigated') !== undefined) return true
  return /^text\/html\b/i.test(header(headers, 'content-type') ?? '') || /^\s*<(!doctype|html)/i.test(body)
}
