import { chatCompletion } from '../chat.js'
import { field, text } from '../json.js'
import { PromptCache } from '../model.js'
import type { SimRequest } from '../request.js'
import {
  type Answer,
  type Dialogue,
  eventStream,
  json,
  notFound,
  type Upstream,
  type World,
} from '../upstream.js'
import { invalidRequest } from './errors.js'
import { type Item, sseFrame } from './output.js'
import { RealtimeDialogue } from './realtime.js'
import { ResponsesDialogue } from './responses.js'
import { generate, type Payer, prewarm, type Turn } from './turn.js'

const ROOT = '/openai/v1/'

export interface OpenAiKeyOptions {
  /** Name in tests and of the credential file, without `.json`. */
  id: string
  /** @default `sk-sim-ID` */
  key?: string
}

/** An OpenAI API key. */
export interface OpenAiKey extends Payer {
  readonly key: string
  /** With true, the key is refused as unknown. */
  revoked: boolean
  /** An `auth.json` that holds the key. */
  authJson(): { auth_mode: 'apikey'; OPENAI_API_KEY: string }
}

export function openAiKey({ id, key = `sk-sim-${id}` }: OpenAiKeyOptions): OpenAiKey {
  const authJson = () => ({ auth_mode: 'apikey' as const, OPENAI_API_KEY: key })
  return { id, key, revoked: false, cache: new PromptCache(), authJson }
}

/** `https://api.openai.com/v1`: Responses, over WebSockets too, and chat completions. */
export function createOpenAi(keys: readonly OpenAiKey[], world: World): Upstream {
  const holder = (request: SimRequest) =>
    keys.find(({ key }) => request.headers.authorization === `Bearer ${key}`)
  const serve = <T>(request: SimRequest, give: (key: OpenAiKey) => T): Answer | T => {
    const key = holder(request)
    return key && !key.revoked ? give(key) : invalidKey
  }
  return {
    kind: 'openai',
    owns: ({ path }) => path.startsWith(ROOT),
    account: (request) => holder(request)?.id,
    answer: (request) =>
      serve(request, (key) => {
        const call = `${request.method} ${request.path.slice(ROOT.length)}`
        if (call === 'GET models') return json(200, { object: 'list', data: [] })
        if (call === 'POST chat/completions') return chat(request, key, world)
        return call === 'POST responses' ? responses(request, key, world) : notFound
      }),
    upgrade: (request) =>
      serve<Answer | Dialogue>(request, (key) => {
        if (request.path === `${ROOT}realtime`)
          return request.query.has('model') ? new RealtimeDialogue(request, key, world) : missing('model')
        if (request.path !== `${ROOT}responses`) return notFound
        return new ResponsesDialogue({ 'openai-processing-ms': '1' }, (body) => {
          const turn = { request, body, length: JSON.stringify(body).length }
          return field(body, 'generate') === false ? prewarm(turn, key, world) : takeTurn(turn, key, world)
        })
      }),
  }
}

/** Without `stream: true` the whole response comes as one JSON object. */
function responses(request: SimRequest, key: OpenAiKey, world: World): Answer {
  const body = request.json
  const taken = takeTurn({ request, body, length: request.body.length }, key, world)
  if (!Array.isArray(taken)) return taken
  const headers = { 'openai-processing-ms': '1', 'x-ratelimit-remaining-requests': '999' }
  if (field(body, 'stream') !== true) return json(200, field(taken.at(-1), 'response'), headers)
  return eventStream({ events: taken, frame: sseFrame }, headers)
}

function takeTurn(turn: Turn, key: OpenAiKey, world: World): Answer | Item[] {
  return text(turn.body, 'model') === undefined ? missing('model') : generate(turn, key, world)
}

function chat(request: SimRequest, by: OpenAiKey, world: World): Answer {
  const model = text(request.json, 'model')
  if (model === undefined) return missing('model')
  if (!Array.isArray(field(request.json, 'messages'))) return missing('messages')
  return chatCompletion({ request, model, by, usageIn: 'chunk of its own' }, world)
}

const missing = (name: string): Answer =>
  invalidRequest('missing_required_parameter', `Missing required parameter: '${name}'.`)

const invalidKey = json(401, {
  error: {
    message: 'Incorrect API key provided.',
    type: 'invalid_request_error',
    param: null,
    code: 'invalid_api_key',
  },
})
