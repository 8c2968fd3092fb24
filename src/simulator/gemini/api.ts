import { type Answer, eventStream, json } from '../answer.js'
import { field } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Upstream, World } from '../upstream.js'
import { asList, errorInfo, googleError, notFoundEntity } from './errors.js'
import { generate, type Generator, promptTokens, sseFrame, whole } from './generation.js'
import { MODELS } from './quota.js'

export interface GeminiKeyOptions {
  /** Name in tests; its credential file is `gemini_ID.json`. */
  id: string
  /** @default `gemini-sim-ID` */
  key?: string
}

/** A Gemini API key. */
export interface GeminiKey extends Generator {
  readonly key: string
  /** Set to true, it is refused as not valid. */
  revoked: boolean
  /** The content of its credential file. */
  credential(): { api_key: string }
}

export function geminiKey({ id, key = `gemini-sim-${id}` }: GeminiKeyOptions): GeminiKey {
  return { id, key, revoked: false, cache: new Map(), credential: () => ({ api_key: key }) }
}

const ROOT = '/v1beta/'
const GENERATION = /^POST models\/([^:/]+):(generateContent|streamGenerateContent|countTokens)$/

/** `https://generativelanguage.googleapis.com`, with `x-goog-api-key` only. */
export function createGeminiApi(keys: readonly GeminiKey[], world: World): Upstream {
  const holder = (request: SimRequest) => keys.find(({ key }) => request.headers['x-goog-api-key'] === key)
  return {
    kind: 'gemini-api',
    owns: (path) => path.startsWith(ROOT),
    account: (request) => holder(request)?.id,
    answer(request) {
      const key = holder(request)
      if (!key || key.revoked) return invalidKey
      const route = `${request.method} ${request.path.slice(ROOT.length)}`
      if (route === 'GET models') return json(200, { models: MODELS.map(modelEntry) })
      const [, model, method] = GENERATION.exec(route) ?? []
      return model === undefined ? notFoundEntity : generation(request, key, model, method, world)
    },
  }
}

function generation(
  request: SimRequest,
  key: GeminiKey,
  model: string,
  method: string | undefined,
  world: World,
): Answer {
  const streams = method === 'streamGenerateContent'
  if (!MODELS.includes(model)) return streams ? asList(notFoundEntity) : notFoundEntity
  if (method === 'countTokens') {
    return json(200, {
      totalTokens: promptTokens(field(request.json, 'generateContentRequest') ?? request.json),
    })
  }
  const events = generate(request, request.json, model, key, world)
  if (!streams) return json(200, whole(events))
  return request.query.get('alt') === 'sse' ? eventStream({ events, frame: sseFrame }) : json(200, events)
}

const modelEntry = (model: string) => ({
  name: `models/${model}`,
  displayName: model,
  supportedGenerationMethods: ['generateContent', 'countTokens'],
})

const invalidKey = googleError({
  code: 400,
  status: 'INVALID_ARGUMENT',
  message: 'API key not valid. Please pass a valid API key.',
  details: [errorInfo('API_KEY_INVALID', 'googleapis.com', { service: 'generativelanguage.googleapis.com' })],
})
