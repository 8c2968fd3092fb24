import { field, list } from '../json.js'
import { PromptCache } from '../model.js'
import type { SimRequest } from '../request.js'
import { type Answer, json, type Upstream, type World } from '../upstream.js'
import { MODELS } from './account.js'
import { asList, errorInfo, googleError, notFoundEntity } from './refusals.js'
import { type Generation, generate, googleStream, promptTokens, whole } from './generation.js'
import { KeyResources } from './key-resources.js'
import { isLive, LiveDialogue, type LiveKey } from './live.js'

export interface GeminiKeyOptions {
  /** Name in tests; its credential file is `gemini_ID.json`. */
  id: string
  /** @default `gemini-sim-ID` */
  key?: string
}

/** A Gemini API key. */
export type GeminiKey = LiveKey & {
  readonly key: string
  /** The content of its credential file. */
  credential(): { api_key: string }
}

export function geminiKey({ id, key = `gemini-sim-${id}` }: GeminiKeyOptions): GeminiKey {
  return {
    id,
    key,
    revoked: false,
    spent: false,
    cache: new PromptCache(),
    credential: () => ({ api_key: key }),
  }
}

const ROOT = /^(?:\/(?:upload|download))?\/v1(?:alpha|beta)?\/(?!openai\/)/
const GENERATION =
  /^POST models\/([^:/]+):(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)$/

/** `https://generativelanguage.googleapis.com`, with `x-goog-api-key` only. */
export function createGeminiApi(keys: readonly GeminiKey[], world: World): Upstream {
  const resources = new KeyResources(world)
  const holder = (request: SimRequest) =>
    keys.find(({ key }) => request.headers['x-goog-api-key'] === key) ??
    // The second address of an upload stands for its key.
    keys.find(({ id }) => id === resources.uploaderOf(request))
  return {
    kind: 'gemini-api',
    owns: (request) => ROOT.test(request.path) || isLive(request),
    account: (request) => holder(request)?.id,
    upgrade(request) {
      const key = holder(request)
      return !isLive(request) ? notFoundEntity : key ? new LiveDialogue(request, key, world) : invalidKey
    },
    answer(request) {
      const by = holder(request)
      if (!by || by.revoked) return invalidKey
      const call = `${request.method} ${request.path.replace(ROOT, '')}`
      const resource = resources.answer(request, call, by.id) ?? resources.refusal(request.json, by.id)
      if (resource) return resource
      if (call === 'GET models') return json(200, { models: MODELS.map(modelEntry) })
      const [, model, method] = GENERATION.exec(call) ?? []
      if (model === undefined) return notFoundEntity
      return generation({ request, body: request.json, model, by, world }, method)
    },
  }
}

function generation(asked: Generation, method: string | undefined): Answer {
  const { request, body, model } = asked
  const streams = method === 'streamGenerateContent'
  if (!MODELS.includes(model)) return streams ? asList(notFoundEntity) : notFoundEntity
  if (method === 'countTokens')
    return json(200, { totalTokens: promptTokens(field(body, 'generateContentRequest') ?? body) })
  if (method === 'embedContent') return json(200, { embedding: EMBEDDING })
  if (method === 'batchEmbedContents')
    return json(200, { embeddings: list(body, 'requests').map(() => EMBEDDING) })
  const events = generate(asked)
  if (!streams) return json(200, whole(events))
  return googleStream(request, events)
}

const EMBEDDING = { values: [0.5, 0.25] }

const modelEntry = (model: string) => ({
  name: `models/${model}`,
  displayName: model,
  supportedGenerationMethods: ['generateContent', 'countTokens'],
})

export const invalidKey = googleError({
  code: 400,
  status: 'INVALID_ARGUMENT',
  message: 'API key not valid. Please pass a valid API key.',
  details: [errorInfo('API_KEY_INVALID', 'googleapis.com', { service: 'generativelanguage.googleapis.com' })],
})
