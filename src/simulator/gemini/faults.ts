import type { WireFault } from '../fault.js'
import type { Answer } from '../upstream.js'
import {
  asList,
  CODE_ASSIST,
  errorInfo,
  googleError,
  help,
  quotaExhausted,
  retryInfo,
  unauthenticated,
} from './errors.js'

const fault = ({ status, headers = {}, body }: Answer): WireFault => ({ status, headers, body })

const limited = (message: string, details: readonly object[] = []): WireFault =>
  fault(googleError({ code: 429, status: 'RESOURCE_EXHAUSTED', message, details }))

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
  /** 429 (or 503): the model has no room for anybody. */
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
