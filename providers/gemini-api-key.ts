import type { GeminiApiKeySettings } from '../config/config.js'
import type {
  ClientRequest,
  Conversation,
  Credential,
  Inspection,
  Provider,
  UpstreamAnswer,
  Verdict,
} from '../config/provider.js'
import { googleExhausted, googleFailure } from './google/answers.js'
import { googleError, type GoogleError, googleVerdict, nextPacificMidnight } from './google/errors.js'
import { geminiEvent, geminiUsage, geminiUsageMarker, signatureVerdict } from './google/stream.js'
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
    classify,
    classifyEvent: (event, request) => geminiEvent(event, request && model(request)),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    exhausted: (exhaustion) => googleExhausted(exhaustion),
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
 * This API knows no sessions, and sends the whole conversation each time: its beginning tells it from others. What is
 * no generation may be about files and caches that only one key's project has.
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

/** The generation method of a request, which may be sent twice; `undefined` for all others. */
export function methodOf({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[2]
}

/** This API has the model in the path. */
export function model({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[1]
}

/** What is wrong with a key that no other request will get through with either. */
const DEAD: Readonly<Record<string, string>> = {
  API_KEY_INVALID: 'the API key is not valid or has expired',
  API_KEY_SERVICE_BLOCKED: 'the API key is restricted to other APIs',
  API_KEY_HTTP_REFERRER_BLOCKED: 'the API key is restricted to web pages',
  API_KEY_IP_ADDRESS_BLOCKED: 'the API key is restricted to other addresses',
  CONSUMER_SUSPENDED: 'the project of the API key is suspended',
  SERVICE_DISABLED: 'the Gemini API is not turned on in the project of the API key',
}

/** Judges an answer of the Gemini API. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  const { status } = answer
  if (status < 400) return { kind: 'pass' }
  const asked = model(request)
  if (status === 400 || status === 403) {
    const error = googleError(answer.json())
    const dead = error && whyDead(error)
    if (dead !== undefined) return { kind: 'needs-login', reason: `${dead}: put a good one into its file` }
    // Free keys are not served everywhere; a paid one may be.
    if (status === 400 && /location is not supported/i.test(error?.message ?? ''))
      return { kind: 'refused', reason: 'location_not_supported', model: asked }
  }
  const body = status === 400 ? fields(request.json()) : undefined
  const repair = signatureVerdict(answer, body?.contents, (contents) => ({ ...body, contents }))
  return repair ?? googleVerdict(answer, { model: asked, dayEnds: nextPacificMidnight(Date.now()) })
}

function whyDead({ reason, message }: GoogleError): string | undefined {
  if (reason !== undefined && reason in DEAD) return DEAD[reason]
  return /reported as leaked/i.test(message) ? 'the API key was reported as leaked' : undefined
}
