import { brotliCompressSync, gzipSync } from 'node:zlib'
import { faults, geminiFaults, type Fault, type WireFault } from '../../../src/simulator/index.js'
import { NOW } from './clock.js'
import type { Front } from './fronts.js'
import { moves, perForm, trouble, type Row } from './row.js'

const SECOND = 1000
const wait = (seconds: number, more = '') => moves('wait', `cooling ${seconds} s${more}`)
const limit = (seconds: number, more = '') => moves('limit', `exhausted ${seconds} s${more}`)
const MODEL = ' for the model'

/** A 429 that says nothing but for how long. */
const plain = (headers: WireFault['headers'] = {}) => {
  return (front: Front): WireFault => {
    const fault = front.google ? geminiFaults.rateLimited() : faults.rateLimited()
    return { ...fault, headers: { ...fault.headers, ...headers } }
  }
}

const usageLimit = (reset: object): WireFault => ({
  ...faults.usageLimit(),
  body: { error: { type: 'usage_limit_reached', message: 'The usage limit has been reached', ...reset } },
})

const info = (reason: string, metadata: object = {}) => ({
  '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
  reason,
  domain: 'cloudcode-pa.googleapis.com',
  metadata,
})
const retryInfo = (retryDelay: string) => ({
  '@type': 'type.googleapis.com/google.rpc.RetryInfo',
  retryDelay,
})

const google = (message: string, ...details: object[]): WireFault => {
  const error = { code: 429, status: 'RESOURCE_EXHAUSTED', message, details }
  return { status: 429, headers: { 'content-type': 'application/json' }, body: { error } }
}

/** The recent form, with everything that Google ever sends. */
const individualQuota = google(
  'Individual quota reached. Contact your administrator to enable overages. Resets in 9h22m20s.',
  info('QUOTA_EXHAUSTED', {
    quotaResetTimeStamp: new Date(NOW + 33_740 * SECOND).toISOString(),
    quotaResetDelay: '33740.910400305s',
    uiMessage: 'true',
  }),
  retryInfo('33740.910400305s'),
)

const exact = (fault: WireFault) => () => fault
/** Google's form of a limit. Codex's provider reads its times and its words, for a gateway in front may write them. */
const googleForm = (google: ReturnType<typeof moves>, codex = wait(1)) => perForm(codex, google, wait(1))

/** The ways of saying "not now". */
export const limits: readonly Row[] = [
  { fault: '429', does: plain(), outcome: perForm(wait(1), wait(1, MODEL), wait(1)) },
  {
    fault: '429, Retry-After in seconds',
    does: plain({ 'retry-after': '7' }),
    outcome: perForm(wait(7), wait(7, MODEL), wait(7)),
  },
  {
    fault: '429, Retry-After as a date',
    does: plain({ 'retry-after': new Date(NOW + 90 * SECOND).toUTCString() }),
    outcome: perForm(wait(90), wait(90, MODEL), wait(90)),
  },
  {
    fault: '429 usage_limit_reached, resets_at',
    does: exact(usageLimit({ resets_at: NOW / SECOND + 600 })),
    outcome: perForm(limit(600), wait(1, MODEL), wait(1)),
  },
  {
    fault: '429 usage_limit_reached, resets_in_seconds',
    does: exact(usageLimit({ resets_in_seconds: 600 })),
    outcome: perForm(limit(600), wait(1, MODEL), wait(1)),
  },
  {
    fault: '429 usage_limit_reached, days away',
    does: exact(usageLimit({ resets_at: NOW / SECOND + 300_000 })),
    outcome: perForm(limit(900), wait(1, MODEL), wait(1)),
  },
  {
    fault: '429 RATE_LIMIT_EXCEEDED with RetryInfo',
    does: exact(geminiFaults.rateLimited(2.5)),
    outcome: googleForm(wait(2.5, MODEL), wait(2.5)),
  },
  {
    fault: '429 RATE_LIMIT_EXCEEDED, as a list',
    does: exact(geminiFaults.asList(geminiFaults.rateLimited(2.5))),
    outcome: googleForm(wait(2.5, MODEL), wait(2.5)),
  },
  {
    fault: '429 RetryInfo beyond 300 s',
    does: exact(google('Resource has been exhausted.', info('RATE_LIMIT_EXCEEDED'), retryInfo('400s'))),
    outcome: googleForm(limit(400, MODEL), wait(400)),
  },
  {
    fault: '429 QUOTA_EXHAUSTED, "exhausted your capacity"',
    does: exact(geminiFaults.quotaExhausted({ now: NOW })),
    outcome: googleForm(limit(900, MODEL), limit(900)),
  },
  {
    fault: '429 QUOTA_EXHAUSTED, "Individual quota reached"',
    does: exact(individualQuota),
    outcome: googleForm(limit(900, MODEL), limit(900)),
  },
  {
    fault: '429 with a quota per day',
    does: exact(geminiFaults.dailyQuota()),
    outcome: googleForm(limit(900, MODEL)),
  },
  {
    fault: '429 "Please retry in 3s", no details',
    does: exact(geminiFaults.bare()),
    outcome: googleForm(wait(3, MODEL), wait(3)),
  },
  {
    fault: '429 "limit: 0"',
    does: exact(google('Quota exceeded for metric: free_tier_requests, limit: 0, model: x')),
    outcome: googleForm(moves('theirs 429', 'refused 900 s for the model'), limit(900)),
  },
  {
    fault: '429 MODEL_CAPACITY_EXHAUSTED',
    does: exact(geminiFaults.capacity()),
    outcome: googleForm(trouble(502)),
  },
  {
    fault: '503 MODEL_CAPACITY_EXHAUSTED',
    does: exact(geminiFaults.capacity(503)),
    outcome: trouble(503),
  },
  {
    fault: '429 as a page',
    does: exact({ ...faults.challenge(), status: 429 }),
    outcome: perForm(trouble(502), trouble(502), wait(1)),
  },
  {
    fault: '429 compressed with gzip',
    does: compressed('gzip'),
    outcome: perForm(limit(600), limit(900, MODEL), wait(1)),
  },
  {
    fault: '429 compressed with br',
    does: compressed('br'),
    outcome: perForm(limit(600), limit(900, MODEL), wait(1)),
  },
]

function compressed(encoding: 'gzip' | 'br'): (front: Front) => Fault {
  const compress = encoding === 'gzip' ? gzipSync : brotliCompressSync
  return (front) => {
    const fault = front.google
      ? geminiFaults.quotaExhausted({ now: NOW })
      : usageLimit({ resets_at: NOW / SECOND + 600 })
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
    return (_request, response) =>
      void response.writeHead(429, headers).end(compress(JSON.stringify(fault.body)))
  }
}
