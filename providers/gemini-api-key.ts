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
import { conversationOf, nameInHeaders } from './conversation.js'
import { googleExhausted, googleFailure, googleHeaders } from './google/answers.js'
import { type GoogleError, sentenceOf } from './google/errors.js'
import { geminiUsage, keepAlive, streamFailure } from './google/generation.js'
import { isLive, liveModel, liveSocket } from './google/live.js'
import {
  generationOf,
  geminiPath,
  isDoubled,
  isGemini,
  modelInPath,
  speaksOpenAi,
  usesQuota,
} from './google/paths.js'
import { resourcesIn, resourcesMade, uploadHeaders } from './google/resources.js'
import { googleVerdicts } from './google/verdict.js'
import { openingOf } from './history.js'
import { fitsHeader, normalPath, queryOf } from './http.js'
import { fields, text } from './json.js'
import { openAiExhausted, openAiFailure, openAiUsage } from './openai.js'

/** The Gemini API with API keys, and its OpenAI-compatible side under `/v1beta/openai`. */
export function geminiApiKey({ upstream }: Pick<Required<GeminiApiKeySettings>, 'upstream'>): Provider {
  const verdicts = googleVerdicts({ model, accountVerdict, dayEnds: nextPacificMidnight })
  return {
    upstream,
    credentials: 'gemini_*.json',
    passHeaders: googleHeaders,
    inspect,
    authorize,
    claims: (head) => !normalPath(head.path).startsWith('/v1/') || isGemini(head),
    path: ({ path, url }) => geminiPath(path) + queryOf(url),
    answer,
    conversation,
    opening: openingOf,
    model,
    replayable: (request) => generationOf(request) !== undefined,
    usesQuota,
    resources: resourcesIn,
    resourcesMade,
    addressHeaders: uploadHeaders,
    ...verdicts,
    socket: liveSocket(verdicts.classifyEvent),
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

/** The OpenAI-compatible side takes the key as a bearer only, the API itself in a header of its own. */
const authorize: Provider['authorize'] = ({ credential, request }) => {
  const key = String(credential.api_key)
  return speaksOpenAi(request)
    ? { authorization: `Bearer ${key}`, 'x-goog-api-key': undefined }
    : { authorization: undefined, 'x-goog-api-key': key }
}

/** Requests for another address or another API of Google's: their prompt is not for an API key's project. */
function answer(request: ClientRequest): Answer | undefined {
  const path = normalPath(request.path)
  if (/^\/v1(?:alpha|beta)?\/v1internal(?:[:/]|$)/.test(path)) return codeAssistHere
  if (/\/(?:publishers|projects\/[^/]+\/locations)\//.test(path)) return vertexHere
  return isDoubled(path) ? doubled : undefined
}

const misled = (message: string): Answer =>
  googleFailure({ status: 400, code: 'wrong_base_address', message })

const codeAssistHere = misled(
  "This is a request of Gemini CLI's Code Assist login under a version of the Gemini API: set CODE_ASSIST_ENDPOINT to " +
    "the gateway's address without /v1beta or /v1.",
)
const vertexHere = misled(
  'This is a request of Vertex AI, whose address takes no API keys of the Gemini API: leave out `vertexai: true`, or in ' +
    'the environment GOOGLE_GENAI_USE_VERTEXAI.',
)
const doubled = misled(
  "Set the client's base address to the gateway without /v1: the client adds its API version itself.",
)

/**
 * Calls of models repeat their conversation. Other calls may name files and caches of one key's project: those of one
 * session stay on one account, or else those of one person.
 */
function conversation(request: ClientRequest): Conversation | undefined {
  if (generationOf(request) !== undefined) return conversationOf(request)
  return { id: nameInHeaders(request) ?? `caller:${request.client}` }
}

/** This API has the model in the path, its OpenAI-compatible side and a Live session in the body. */
function model(request: ClientRequest): string | undefined {
  if (isLive(request)) return liveModel(request.json())
  if (!speaksOpenAi(request) || generationOf(request) === undefined) return modelInPath(request)
  return text(fields(request.json())?.model)?.replace(/^models\//, '')
}

/** The key is over; what is wrong with its project is judged with all other refusals. */
const OVER = new Set(['API_KEY_INVALID', 'keyInvalid', 'keyExpired'])
const OVER_WORDS =
  /^(?:(?:the|this|your) )?API key (?:is |has |was |has been )?(?:not valid|invalid|not found|expired|disabled|deleted|revoked)|API key was reported as leaked/i

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
