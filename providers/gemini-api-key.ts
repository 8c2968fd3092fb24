import type { GeminiApiKeySettings } from '../config/provider-entry.js'
import type {
  Answer,
  ClientRequest,
  Conversation,
  Credential,
  Inspection,
  Provider,
  Verdict,
} from '../config/provider.js'
import { conversationOf } from './conversation.js'
import { googleExhausted, googleFailure, googleHeaders } from './google/answers.js'
import { type GoogleError, sentenceOf } from './google/errors.js'
import { geminiUsage, keepAlive, streamFailure } from './google/generation.js'
import { resourcesIn, resourcesMade, uploadHeaders } from './google/resources.js'
import { googleVerdicts } from './google/verdict.js'
import { openingOf } from './history.js'
import { fitsHeader, normalPath, queryOf } from './http.js'
import { fields, text } from './json.js'
import { openAiExhausted, openAiFailure, openAiUsage } from './openai.js'

/** The Gemini API with API keys, and its OpenAI-compatible side under `/v1beta/openai`. */
export function geminiApiKey({ upstream }: Pick<Required<GeminiApiKeySettings>, 'upstream'>): Provider {
  return {
    upstream,
    credentials: 'gemini_*.json',
    passHeaders: googleHeaders,
    inspect,
    authorize,
    path: (request) => pathOf(request) + queryOf(request.url),
    answer,
    conversation,
    opening: openingOf,
    model,
    replayable: (request) => methodOf(request) !== undefined,
    usesQuota,
    resources: resourcesIn,
    resourcesMade,
    addressHeaders: uploadHeaders,
    ...googleVerdicts({ model, accountVerdict, dayEnds: nextPacificMidnight }),
    usage: (payload) => geminiUsage(payload) ?? openAiUsage(payload),
    keepAlive,
    streamFailure,
    exhausted: (exhaustion, request) =>
      speaksOpenAi(request) ? openAiExhausted(exhaustion) : googleExhausted(exhaustion),
    failure: (failure, request) => (speaksOpenAi(request) ? openAiFailure(failure) : googleFailure(failure)),
  }
}

function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  const key = text(file?.api_key)
  if (key === undefined) return 'has no "api_key"; an API-key account is a file { "api_key": "…" }'
  if (!fitsHeader(key))
    return 'its "api_key" holds a space, a line break or another character that no key has'
  return { kind: 'api-key', label: text(file?.label) ?? 'API key' }
}

/** A client whose base address ends in `/v1beta` writes that segment twice. */
function pathOf({ path }: Pick<ClientRequest, 'path'>): string {
  return normalPath(path).replace(/^\/v1beta(?=\/(?:v1beta|upload\/v1beta)\/)/, '')
}

function speaksOpenAi(request: ClientRequest): boolean {
  return pathOf(request).startsWith('/v1beta/openai/')
}

/** The OpenAI-compatible side takes the key as a bearer only, the API itself in a header of its own. */
const authorize: Provider['authorize'] = ({ credential, request }) => {
  const key = String(credential.api_key)
  return speaksOpenAi(request)
    ? { authorization: `Bearer ${key}`, 'x-goog-api-key': undefined }
    : { authorization: undefined, 'x-goog-api-key': key }
}

/** A Code Assist client whose base address ends in `/v1beta`: its prompt is not for an API key's project. */
function answer(request: ClientRequest): Answer | undefined {
  if (!/^\/v1beta\/v1internal(?:[:/]|$)/.test(normalPath(request.path))) return undefined
  const message =
    "This is a request of Gemini CLI's Code Assist login under /v1beta: set CODE_ASSIST_ENDPOINT to the gateway's " +
    'address without /v1beta.'
  return googleFailure({ status: 400, code: 'wrong_base_address', message })
}

/**
 * This API has no sessions, and every request carries the whole conversation. Other calls may name files and caches of one
 * key's project, so a person's calls stay on one account.
 */
function conversation(request: ClientRequest): Conversation | undefined {
  return methodOf(request) === undefined ? { id: `caller:${request.client}` } : conversationOf(request)
}

const CALL =
  /\/(?:models|tunedModels)\/([^/:]+):(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)$/
const OPENAI_CALL = /^\/v1beta\/openai\/(chat\/completions|completions|embeddings|images\/generations)$/

/** The generation method of a request, which may be sent twice; `undefined` for other calls. */
function methodOf(request: ClientRequest): string | undefined {
  const path = pathOf(request)
  return CALL.exec(path)?.[2] ?? OPENAI_CALL.exec(path)?.[1]
}

/** Every method costs but the counting of tokens, also those that must not be sent twice, such as `predictLongRunning`. */
function usesQuota(request: ClientRequest): boolean {
  const path = pathOf(request)
  return request.method === 'POST' && (OPENAI_CALL.test(path) || /:(?!countTokens$)[a-zA-Z]+$/.test(path))
}

/** This API has the model in the path, its OpenAI-compatible side in the body. */
function model(request: ClientRequest): string | undefined {
  const path = pathOf(request)
  if (!OPENAI_CALL.test(path)) return CALL.exec(path)?.[1]
  return text(fields(request.json())?.model)?.replace(/^models\//, '')
}

/** The key is over; what is wrong with its project is judged with all other refusals. */
const OVER = new Set(['API_KEY_INVALID', 'keyInvalid', 'keyExpired'])
const OVER_WORDS = /^API key (?:not valid|not found|expired)|API key was reported as leaked/i

function accountVerdict({ code = 403, reason, message }: GoogleError): Verdict | undefined {
  if (code !== 400 && code !== 401 && code !== 403) return undefined
  if (!OVER.has(reason ?? '') && !OVER_WORDS.test(message)) return undefined
  const said = message === '' ? '' : ` ("${sentenceOf(message)}")`
  return { kind: 'needs-login', reason: `Google refuses the API key${said}: put a good one into its file` }
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
