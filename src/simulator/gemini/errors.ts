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
