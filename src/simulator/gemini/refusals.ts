import { Pause, type WireFault } from '../fault.js'
import { field } from '../json.js'
import { type Answer, json } from '../upstream.js'

const RPC = 'type.googleapis.com/google.rpc'

interface GoogleError {
  readonly code: number
  readonly status: string
  readonly message: string
  readonly details?: readonly object[]
}

/** An error body of Google's, in the form in which most methods send it. */
export function googleError(error: GoogleError): Answer {
  return json(error.code, { error })
}

/** The same as a list, which is how the streaming methods send it. */
export function asList(answer: Answer): Answer {
  return { ...answer, body: [answer.body] }
}

export function errorInfo(reason: string, domain: string, metadata: Record<string, string> = {}) {
  return { '@type': `${RPC}.ErrorInfo`, reason, domain, metadata }
}

/** `seconds` may have a fraction. */
export function retryInfo(seconds: number) {
  return { '@type': `${RPC}.RetryInfo`, retryDelay: `${seconds}s` }
}

export function help(description: string, url: string) {
  return { '@type': `${RPC}.Help`, links: [{ description, url }] }
}

export const CODE_ASSIST = 'cloudcode-pa.googleapis.com'

export function unauthenticated(reason: string): Answer {
  const message =
    'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid ' +
    'authentication credential.'
  const details = [errorInfo(reason, 'googleapis.com', { service: CODE_ASSIST })]
  return googleError({ code: 401, status: 'UNAUTHENTICATED', message, details })
}

export function foreignProject(project: string): Answer {
  const message = `Permission denied on resource project ${project}.`
  const consumer = {
    consumer: `projects/${project}`,
    containerInfo: project,
    service: 'cloudaicompanion.googleapis.com',
  }
  const details = [
    errorInfo('CONSUMER_INVALID', 'googleapis.com', consumer),
    { '@type': `${RPC}.LocalizedMessage`, locale: 'en-US', message },
    help('Google developers console', 'https://console.developers.google.com'),
  ]
  return googleError({ code: 403, status: 'PERMISSION_DENIED', message, details })
}

export const invalidArgument = (message: string): Answer =>
  googleError({ code: 400, status: 'INVALID_ARGUMENT', message })

/** 403 for a file or a cached content of another key. Google does not tell it from one that is not there. */
export const foreignResource = (message: string): Answer =>
  googleError({ code: 403, status: 'PERMISSION_DENIED', message })

export const notFoundEntity = googleError({
  code: 404,
  status: 'NOT_FOUND',
  message: 'Requested entity was not found.',
})

/** With the words that make the Gemini CLI sleep until the reset. */
export function quotaExhausted(model: string, resetsInMs: number, now: number): Answer {
  const seconds = Math.max(1, Math.ceil(resetsInMs / 1000))
  const message = `You have exhausted your capacity on this model. Your quota will reset after ${clock(seconds)}.`
  const metadata = {
    model,
    uiMessage: 'true',
    quotaResetDelay: `${seconds}s`,
    quotaResetTimeStamp: new Date(now + seconds * 1000).toISOString(),
  }
  const details = [errorInfo('QUOTA_EXHAUSTED', CODE_ASSIST, metadata), retryInfo(seconds)]
  return googleError({ code: 429, status: 'RESOURCE_EXHAUSTED', message, details })
}

/** `1h2m3s`, without the parts that are 0 in front. */
function clock(seconds: number): string {
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor((seconds % 3600) / 60)
  const front = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : ''
  return `${front}${seconds % 60}s`
}

const fault = ({ status, headers = {}, body }: Answer): WireFault => ({ status, headers, body })

const limited = (message: string, details: readonly object[] = []): WireFault =>
  fault(googleError({ code: 429, status: 'RESOURCE_EXHAUSTED', message, details }))

/** A refusal of the key's project. */
function refused(code: 400 | 403 | 429, message: string, reason?: string): WireFault {
  const status = { 400: 'FAILED_PRECONDITION', 403: 'PERMISSION_DENIED', 429: 'RESOURCE_EXHAUSTED' }[code]
  const details = reason === undefined ? [] : [errorInfo(reason, 'googleapis.com')]
  return fault(googleError({ code, status, message, details }))
}

function withoutCandidates(event: object): object {
  const { response, candidates: _, ...others } = event as { response?: object; candidates?: unknown }
  return response ? { ...others, response: withoutCandidates(response) } : others
}

/** Faults in the exact form of Google's, for `sim.fail({ with: … })`. */
export const geminiFaults = {
  /** 429 that passes; with `retryDelaySeconds` (may have a fraction) in a `RetryInfo`. */
  rateLimited: (retryDelaySeconds?: number): WireFault =>
    limited('Resource has been exhausted (e.g. check quota).', [
      errorInfo('RATE_LIMIT_EXCEEDED', CODE_ASSIST),
      ...(retryDelaySeconds === undefined ? [] : [retryInfo(retryDelaySeconds)]),
    ]),
  /** 429 of a model's quota, in the words that make the Gemini CLI sleep until the reset. */
  quotaExhausted: ({ model = 'gemini-2.5-pro', resetsInMs = 3_723_000, now = Date.now() } = {}): WireFault =>
    fault(quotaExhausted(model, resetsInMs, now)),
  /** 429 of a daily quota in the older form. */
  dailyQuota: (): WireFault =>
    limited("Quota exceeded for quota metric 'Gemini 2.5 Pro Requests' and limit 'Requests per day'.", [
      errorInfo('RATE_LIMIT_EXCEEDED', 'googleapis.com', { quota_limit: 'Gemini25ProRequestsPerDay' }),
      {
        '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
        violations: [{ quotaId: 'GenerateRequestsPerDayPerProjectPerModel' }],
      },
    ]),
  /** 429 without details; a delay is only in the message. */
  bare: (message = 'Resource exhausted. Please retry in 3s'): WireFault => limited(message),
  /** 429 (or 503): the model has no room, for any account. */
  capacity: (code = 429): WireFault =>
    fault(
      googleError({
        code,
        status: code === 429 ? 'RESOURCE_EXHAUSTED' : 'UNAVAILABLE',
        message: 'No capacity available for this model on the server.',
        details: [errorInfo('MODEL_CAPACITY_EXHAUSTED', CODE_ASSIST)],
      }),
    ),
  /** 401, as for a token that has ended. */
  unauthorized: (): WireFault => fault(unauthenticated('ACCESS_TOKEN_EXPIRED')),
  /** 403: the person has to confirm who they are in a browser. */
  validationRequired: (): WireFault =>
    fault(
      googleError({
        code: 403,
        status: 'PERMISSION_DENIED',
        message: 'Verify your account to continue.',
        details: [
          errorInfo('VALIDATION_REQUIRED', CODE_ASSIST),
          help('Complete validation to continue', 'https://accounts.google.com/signin/continue'),
        ],
      }),
    ),
  /** 5xx in JSON, without details. */
  serverError: (code = 500): WireFault =>
    fault(
      googleError({
        code,
        status: code === 503 ? 'UNAVAILABLE' : 'INTERNAL',
        message: code === 503 ? 'The service is currently unavailable.' : 'Internal error encountered.',
      }),
    ),
  /** 403 or 400: the key's project may not use the model on its plan. */
  plan: (status: 400 | 403 = 403): WireFault =>
    refused(status, 'Gemini 3 Pro Preview is not available on the free tier. Please upgrade your plan.'),
  /** 400: the country is not served. */
  country: (status: 400 | 403 = 400): WireFault =>
    refused(status, 'User location is not supported for the API use.'),
  /** 403: the project has no billing. */
  billing: (status: 400 | 403 = 403): WireFault =>
    refused(
      status,
      'This API method requires billing to be enabled. Please enable billing on project #1 by visiting ' +
        'https://console.developers.google.com/billing/enable?project=1 then retry.',
      'BILLING_DISABLED',
    ),
  /** 403 (429 is seen too): the money that was paid in advance is spent. */
  prepayment: (status: 400 | 403 | 429 = 403): WireFault =>
    refused(
      status,
      'Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your ' +
        'project and billing.',
    ),
  /** 403: the API is switched off in the project, or the key was reported as leaked. */
  disabled: (): WireFault =>
    refused(
      403,
      'Generative Language API has not been used in project 1 before or it is disabled.',
      'SERVICE_DISABLED',
    ),
  leaked: (): WireFault => refused(403, 'Your API key was reported as leaked. Please use another API key.'),
  /** 404: the model or the path is not there for this account. */
  notFound: (): WireFault => fault(notFoundEntity),
  /** A 200 stream that counts tokens and has no candidate. */
  empty: (): WireFault => ({ events: (events) => events.slice(-1).map(withoutCandidates) }),
  /** Any refusal, told inside a 200 stream: `after` so many events, `afterMs` late. */
  inStream: ({ body }: WireFault, { after = 0, afterMs = 0 } = {}): WireFault => ({
    events: (events) => [
      ...events.slice(0, after),
      ...(afterMs > 0 ? [new Pause(afterMs)] : []),
      { error: field(body, 'error') ?? field(body, 0, 'error') },
    ],
  }),
  /** A 200 stream whose first event is an error. */
  errorEvent: (code = 503): WireFault => ({
    events: () => [
      { error: { code, status: 'UNAVAILABLE', message: 'The service is currently unavailable.' } },
    ],
  }),
  /** Any of the refusals above as a list, which is how the streaming methods send errors. */
  asList: (refusal: WireFault): WireFault => {
    const { status = 500, body } = refusal
    return { ...refusal, body: asList({ status, body }).body }
  },
} as const
