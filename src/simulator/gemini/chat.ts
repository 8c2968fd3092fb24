import { field, list, text } from '../json.js'
import { countTokens, pieces, type Reply } from '../model.js'
import { bearer, type SimRequest } from '../request.js'
import { type Answer, eventStream, json, type Upstream, type World } from '../upstream.js'
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
      const key = holder(request)
      if (!key || key.revoked) return asList(invalidKey)
      const call = `${request.method} ${request.path.slice(ROOT.length)}`
      if (call === 'GET models') return json(200, { object: 'list', data: MODELS.map(modelEntry) })
      return call === 'POST chat/completions' ? chat(request, key, world) : asList(notFoundEntity)
    },
  }
}

const modelEntry = (model: string) => ({ id: `models/${model}`, object: 'model', owned_by: 'google' })

let completions = 0

function chat(request: SimRequest, { id: account, cache }: GeminiKey, world: World): Answer {
  const { json: body } = request
  const model = (text(body, 'model') ?? '').replace(/^models\//, '')
  if (!MODELS.includes(model)) return asList(notFoundEntity)
  const messages = list(body, 'messages')
  const schema = field(body, 'response_format', 'json_schema', 'schema')
  const reply = world.reply({ request, model, account, ...askedOf(messages), schema })
  const said = reply.items.map((item) => ('text' in item ? item.text : '')).join('')
  const usage = usageOf(reply, messages, said, cache.read(model, messages))
  completions += 1
  const common = { id: `chatcmpl-sim-${completions}`, created: Math.floor(world.now() / 1000), model }
  if (field(body, 'stream') === true) return stream(said, common, usage)
  const choices = [{ index: 0, message: { role: 'assistant', content: said }, finish_reason: 'stop' }]
  return json(200, { ...common, object: 'chat.completion', choices, usage })
}

function askedOf(messages: readonly unknown[]) {
  const last = messages.findLast((message) => text(message, 'role') === 'user')
  const tools = messages.filter((message) => text(message, 'role') === 'tool')
  return {
    prompt: text(last, 'content') ?? text(last, 'content', 0, 'text') ?? '',
    toolOutputs: tools.map((message) => text(message, 'content') ?? ''),
  }
}

function usageOf({ usage = {} }: Reply, messages: readonly unknown[], said: string, known: number) {
  const prompt_tokens = usage.input ?? countTokens(messages)
  const completion_tokens = usage.output ?? pieces(said).length
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: usage.cached ?? Math.min(prompt_tokens, known) },
  }
}

/** The usage comes with the last chunk, and `[DONE]` ends the stream. */
function stream(said: string, common: object, usage: object): Answer {
  const chunk = (delta: object, finish_reason: string | null) => ({
    ...common,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, finish_reason }],
  })
  const words = pieces(said).map((content) => chunk({ role: 'assistant', content }, null))
  const events = [...words, { ...chunk({}, 'stop'), usage }]
  const frame = (event: object) => `data: ${JSON.stringify(event)}\n\n`
  return eventStream({ events, frame, end: 'data: [DONE]\n\n' })
}
