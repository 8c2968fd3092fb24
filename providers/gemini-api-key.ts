import type { GeminiApiKeySettings } from '../config/config.js'
import type {
  ClientRequest,
  Conversation,
  Credential,
  Inspection,
  Provider,
  Verdict,
} from '../config/provider.js'
import { googleExhausted, googleFailure } from './google/answers.js'
import { type GoogleError, googleVerdicts } from './google/errors.js'
import { geminiUsage, geminiUsageMarker } from './google/generation.js'
import { fitsHeader, header, normalPath, queryOf } from './http.js'
import { fields, list, text } from './json.js'
import { fingerprint } from './tokens.js'

/** Headers in which Google's clients name their own key, project and user. */
export const googleIdentityHeaders: readonly string[] = [
  'x-goog-api-key',
  'x-goog-user-project',
  'x-gemini-api-privileged-user-id',
]

/** The Gemini API with API keys. */
export function geminiApiKey({ upstream }: Pick<Required<GeminiApiKeySettings>, 'upstream'>): Provider {
  return {
    upstream,
    credentials: 'gemini_*.json',
    inspect,
    authorize: ({ credential }) => ({
      'x-goog-api-key': String(credential.api_key),
      authorization: undefined,
    }),
    path: ({ path, url }) => normalPath(path) + queryOf(url),
    conversation,
    model,
    replayable: (request) => methodOf(request) !== undefined,
    ...googleVerdicts({ model, accountVerdict, dayEnds: nextPacificMidnight }),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    exhausted: googleExhausted,
    failure: googleFailure,
  }
}

function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  const key = text(file?.api_key)
  if (key === undefined) return 'has no "api_key"; an API-key account is a file { "api_key": "…" }'
  if (!fitsHeader(key)) return 'its "api_key" holds a space, a line break or another character no key has'
  return { kind: 'api-key', label: text(file?.label) ?? 'API key' }
}

/**
 * This API has no sessions, and every request carries the whole conversation: its first message identifies it. Other
 * calls may name files and caches of one key's project, so a person's calls stay on one account.
 */
function conversation(request: ClientRequest): Conversation | undefined {
  if (methodOf(request) === undefined) return { id: `caller:${request.client}` }
  const body = fields(request.json())
  const [first] = list(body?.contents)
  if (first === undefined) return undefined
  const person = header(request.headers, 'x-gemini-api-privileged-user-id')
  const system = body?.systemInstruction ?? body?.system_instruction
  return { id: fingerprint(JSON.stringify([person, system, first])) }
}

const CALL =
  /\/(?:models|tunedModels)\/([^/:]+):(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)$/

/** The generation method of a request, which may be sent twice; `undefined` for other calls. */
function methodOf({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[2]
}

/** This API has the model in the path. */
function model({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[1]
}

/** Reasons for which every other request with the key is refused, too. */
const DEAD: Readonly<Record<string, string>> = {
  API_KEY_INVALID: 'the API key is not valid or has expired',
  API_KEY_SERVICE_BLOCKED: 'the API key is restricted to other APIs',
  API_KEY_HTTP_REFERRER_BLOCKED: 'the API key is restricted to web pages',
  API_KEY_IP_ADDRESS_BLOCKED: 'the API key is restricted to other addresses',
  CONSUMER_SUSPENDED: 'the project of the API key is suspended',
  SERVICE_DISABLED: 'the Gemini API is not turned on in the project of the API key',
}

function accountVerdict(error: GoogleError, status: number, model: string | undefined): Verdict | undefined {
  if (status !== 400 && status !== 403) return undefined
  const dead = whyDead(error)
  if (dead !== undefined) return { kind: 'needs-login', reason: `${dead}: put a good one into its file` }
  // Free keys are not served everywhere; a paid one may be.
  if (status === 400 && /location is not supported/i.test(error.message))
    return { kind: 'refused', reason: 'location_not_supported', model }
  return undefined
}

function whyDead({ reason, message }: GoogleError): string | undefined {
  if (reason !== undefined && reason in DEAD) return DEAD[reason]
  return /reported as leaked/i.test(message) ? 'the API key was reported as leaked' : undefined
}

const clock = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
})

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/**
 * The next midnight in California, when the Gemini API's limits per day end (ai.google.dev/gemini-api/docs/rate-limits).
 * Both in ms since 1970.
 */
export function nextPacificMidnight(now: number): number {
  const guess = now - sinceMidnight(now) + DAY_MS
  // Twice a year the day has 23 or 25 hours, and the guess is an hour off.
  const off = sinceMidnight(guess)
  return off > DAY_MS / 2 ? guess + DAY_MS - off : guess - Math.min(off, HOUR_MS)
}

/** The time of day in California; ms. */
function sinceMidnight(now: number): number {
  const parts = clock.formatToParts(now)
  const [hours = 0, minutes = 0, seconds = 0] = parts.flatMap(({ type, value }) =>
    type === 'literal' ? [] : Number(value),
  )
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + (now % 1000)
}
