import type { ClientRequest, RequestHead } from '../../config/provider.js'
import { header, normalPath } from '../http.js'

// Which requests are the Gemini API's, and what their paths say. Its libraries and OpenAI's share `/v1`.

/** Segments with which every path of the Gemini API begins. */
const BEGINNING = String.raw`(?:(?:upload|download)\/)?v1(?:alpha|beta)?\/|ws\/google\.ai\.`
/** A version that the client's base address has written once more. */
const DOUBLED = new RegExp(String.raw`^\/v1(?:alpha|beta)?(?=\/(?:${BEGINNING}))`)

/**
 * A path as the Gemini API has it. A client whose base address ends in a version writes that segment twice. The side that
 * is compatible with OpenAI's API exists as `v1beta` only.
 */
export function geminiPath(path: string): string {
  return normalPath(path)
    .replace(DOUBLED, '')
    .replace(/^\/v1(?=\/openai\/)/, '/v1beta')
}

export const speaksOpenAi = ({ path }: Pick<ClientRequest, 'path'>): boolean =>
  /^\/v1(?:alpha|beta)\/openai\//.test(geminiPath(path))

/** Collections that OpenAI's API does not have, its methods behind a colon, and Vertex AI's paths. */
const GEMINI_ONLY =
  /^\/v1\/(?:openai\/|(?:cachedContents|tunedModels|corpora|fileSearchStores|interactions|operations|auth_tokens|generatedFiles|publishers)(?:[/:]|$)|projects\/[^/]+\/locations\/|models\/[^/]+\/operations(?:\/|$)|files:register$|files\/[^/]+:download$)/
/** `models/NAME:method`. A fine-tuned model of OpenAI's has colons in its name, and no POST. */
const METHOD = /\/[^/]+:[a-zA-Z]+$/
/** Paths that OpenAI's API has and the Gemini API does not. */
const OPENAI_ONLY =
  /^\/v1\/(?:alpha|analytics-events|assistants|audio|chat|completions|containers|conversations|embeddings|evals|fine_tuning|images|memories|moderations|organization|realtime|responses|skills|threads|uploads|vector_stores)(?:\/|$)/

/** Whether a Gemini client's base address ends in `/v1`, so that its own version stands behind. */
export const isDoubled = (path: string): boolean => path.startsWith('/v1/') && DOUBLED.test(path)

/**
 * Whether a request under `/v1` is the Gemini API's: by its path alone, or, where both APIs have the path (models, files,
 * batches), by a header that Google's libraries send.
 */
export function isGemini({ method, path, headers }: RequestHead): boolean {
  const plain = normalPath(path)
  if (!plain.startsWith('/v1/')) return false
  if (DOUBLED.test(plain) || GEMINI_ONLY.test(plain)) return true
  if (OPENAI_ONLY.test(plain)) return false
  if (method === 'POST' && METHOD.test(plain)) return true
  if (header(headers, 'x-goog-api-client') !== undefined) return true
  return header(headers, 'x-goog-api-key') !== undefined && header(headers, 'authorization') === undefined
}

const CALL = /\/(?:models|tunedModels)\/([^/:]+):([a-zA-Z]+)$/
const OPENAI_CALL =
  /^\/v1(?:alpha|beta)\/openai\/(chat\/completions|completions|embeddings|images\/generations)$/
/** Methods that make nothing that stays: sent twice, they are billed twice at worst. */
const GENERATIONS = new Set([
  'generateContent',
  'streamGenerateContent',
  'generateAnswer',
  'countTokens',
  'computeTokens',
  'embedContent',
  'batchEmbedContents',
  'predict',
])

/** The generation method of a request, which may be sent twice; `undefined` for other calls. */
export function generationOf(request: Pick<ClientRequest, 'path'>): string | undefined {
  const path = geminiPath(request.path)
  const method = CALL.exec(path)?.[2] ?? ''
  return GENERATIONS.has(method) ? method : OPENAI_CALL.exec(path)?.[1]
}

/** The model that a path names. */
export const modelInPath = ({ path }: Pick<ClientRequest, 'path'>): string | undefined =>
  CALL.exec(geminiPath(path))?.[1]

/** Every method uses quota except for counting tokens; also those that must not be sent twice, such as `predictLongRunning`. */
export function usesQuota(request: ClientRequest): boolean {
  const path = geminiPath(request.path)
  return request.method === 'POST' && (OPENAI_CALL.test(path) || /:(?!countTokens$)[a-zA-Z]+$/.test(path))
}
