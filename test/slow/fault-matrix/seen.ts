import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { field, list, text } from '../../../src/simulator/index.js'
import { drain } from '../../kit/stream.js'
import type { Front } from './fronts.js'

/** The client's view of an answer in a word, as {@link Cell} lists them. Fails for what no client may ever see. */
export async function seenBy(front: Front, answer: IncomingMessage): Promise<string> {
  const { bytes, broken } = await drain(answer)
  const { statusCode = 0, headers } = answer
  const body = decoded(bytes, headers['content-encoding'])
  assert.ok(headers['x-codex-pool-request-id'], 'every answer names its request')
  if (statusCode === 200) return broken ? 'broken' : front.end.test(body) ? 'answer' : 'cut short'
  assert.equal(broken, false, 'a refusal arrives whole')
  const ours = front.google ? inGooglesForm(statusCode, body) : inOpenAisForm(statusCode, body)
  if (!ours) return `theirs ${statusCode}`
  if (/^(wait|down)/.test(ours))
    assert.match(headers['retry-after'] ?? '', /^[1-9]\d*$/, 'who may come back is told when')
  return ours
}

function decoded(bytes: Buffer, encoding: string | undefined): string {
  if (encoding === 'gzip') return gunzipSync(bytes).toString()
  return (encoding === 'br' ? brotliDecompressSync(bytes) : bytes).toString()
}

function inOpenAisForm(status: number, body: string): string | undefined {
  const error = field(JSON.parse(body), 'error')
  const code = text(error, 'code')
  if (code === 'accounts_cooling') return word(status, 503, 'wait')
  if (code === 'login_required') return word(status, 400, 'login')
  if (code === 'accounts_refused') return word(status, 400, 'refused')
  if (code === 'upstream_unavailable') return `down ${status}`
  const limit = code === 'pool_exhausted' || text(error, 'type') === 'usage_limit_reached'
  return limit && isOurs(error) ? word(status, 429, 'limit') : undefined
}

function inGooglesForm(status: number, body: string): string | undefined {
  const error = field(JSON.parse(body), 'error')
  const [info, retry] = list(error, 'details')
  const reason = text(info, 'reason')
  if (reason === 'login_required') return word(status, 403, 'login')
  if (reason === 'accounts_refused') return word(status, 403, 'refused')
  if (reason === 'upstream_unavailable') return `down ${status}`
  if (!isOurs(error)) return undefined
  assert.doesNotMatch(body, /exhausted your capacity|capacity exceeded|MODEL_CAPACITY_EXHAUSTED/i)
  if (reason === 'QUOTA_EXHAUSTED') return word(status, 429, 'limit')
  assert.ok(Number.parseFloat(text(retry, 'retryDelay') ?? '') <= 300, 'a longer delay would end the client')
  return word(status, 429, 'wait')
}

const isOurs = (error: unknown): boolean => /\bthe pool\b/.test(text(error, 'message') ?? '')

function word(status: number, expected: number, word: string): string {
  assert.equal(status, expected, word)
  return word
}
