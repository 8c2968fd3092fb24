import { chatCompletion } from '../chat.js'
import { text } from '../json.js'
import { bearer, type SimRequest } from '../request.js'
import { json, type Upstream, type World } from '../upstream.js'
import { MODELS } from './account.js'
import { type GeminiKey, invalidKey } from './api.js'
import { asList, notFoundEntity } from './refusals.js'

const ROOT = '/v1beta/openai/'

/** The part of the Gemini API that is compatible with OpenAI's: `Authorization: Bearer KEY`. */
export function createGeminiChat(keys: readonly GeminiKey[], world: World): Upstream {
  const holder = (request: SimRequest) => keys.find(({ key }) => key === bearer(request))
  return {
    kind: 'gemini-openai',
    owns: ({ path }) => path.startsWith(ROOT),
    account: (request) => holder(request)?.id,
    answer(request) {
      const by = holder(request)
      if (!by || by.revoked) return asList(invalidKey)
      const call = `${request.method} ${request.path.slice(ROOT.length)}`
      if (call === 'GET models') return json(200, { object: 'list', data: MODELS.map(modelEntry) })
      const model = (text(request.json, 'model') ?? '').replace(/^models\//, '')
      if (call !== 'POST chat/completions' || !MODELS.includes(model)) return asList(notFoundEntity)
      return chatCompletion({ request, model, by, usageIn: 'last chunk' }, world)
    },
  }
}

const modelEntry = (model: string) => ({ id: `models/${model}`, object: 'model', owned_by: 'google' })
