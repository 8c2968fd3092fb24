import { type Answer, eventStream, json, notFound } from '../answer.js'
import { field, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Dialogue, Upstream, World } from '../upstream.js'
import { askedOf } from './asked.js'
import { ResponsesDialogue } from './dialogue.js'
import { invalidRequest } from './errors.js'
import { responseEvents, sseFrame } from './events.js'
import { type Item, outputItems } from './output.js'
import { prewarm } from './responses-socket.js'
import type { Turn } from './turn.js'
import { usageOf } from './usage.js'

const ROOT = '/openai/v1/'

export interface OpenAiKeyOptions {
  /** Name in tests and of the credential file, without `.json`. */
  id: string
  /** @default `sk-sim-ID` */
  key?: string
}

/** An OpenAI API key. */
export interface OpenAiKey {
  readonly id: string
  readonly key: string
  /** Set to true, it is refused as unknown. */
  revoked: boolean
  readonly cache: Map<string, number>
  /** An `auth.json` that holds the key. */
  authJson(): { auth_mode: 'apikey'; OPENAI_API_KEY: string }
}

export function openAiKey({ id, key = `sk-sim-${id}` }: OpenAiKeyOptions): OpenAiKey {
  const authJson = () => ({ auth_mode: 'apikey' as const, OPENAI_API_KEY: key })
  return { id, key, revoked: false, cache: new Map(), authJson }
}

/** `https://api.openai.com/v1`, as far as Codex uses it. */
export function createOpenAi(keys: readonly OpenAiKey[], world: World): Upstream {
  const holder = (request: SimRequest) =>
    keys.find(({ key }) => request.headers.authorization === `Bearer ${key}`)
  const open = (request: SimRequest) => {
    const key = holder(request)
    return key?.revoked ? undefined : key
  }
  return {
    kind: 'openai',
    owns: (path) => path.startsWith(ROOT),
    account: (request) => holder(request)?.id,
    answer(request) {
      const key = open(request)
      if (!key) return invalidKey
      const route = `${request.method} ${request.path.slice(ROOT.length)}`
      if (route === 'GET models') return json(200, { object: 'list', data: [] })
      return route === 'POST responses' ? responses(request, key, world) : notFound
    },
    upgrade(request) {
      const key = open(request)
      if (!key) return invalidKey
      return request.path === `${ROOT}responses` ? socket(request, key, world) : notFound
    },
  }
}

/** Without `stream: true` the whole response comes as one JSON object. */
function responses(request: SimRequest, key: OpenAiKey, world: World): Answer {
  const body = request.json
  const taken = takeTurn({ request, body, length: request.body.length }, key, world)
  if ('status' in taken) return taken
  const headers = { 'openai-processing-ms': '1', 'x-ratelimit-remaining-requests': '999' }
  if (field(body, 'stream') !== true) return json(200, field(taken.at(-1), 'response'), headers)
  return eventStream({ events: taken, frame: sseFrame }, headers)
}

function socket(request: SimRequest, key: OpenAiKey, world: World): Dialogue {
  return new ResponsesDialogue({ 'openai-processing-ms': '1' }, (body) => {
    const turn = { request, body, length: JSON.stringify(body).length }
    return field(body, 'generate') === false ? prewarm(turn, key, world) : takeTurn(turn, key, world)
  })
}

function takeTurn(turn: Turn, key: OpenAiKey, world: World): Answer | readonly Item[] {
  const model = text(turn.body, 'model')
  if (model === undefined)
    return invalidRequest('missing_required_parameter', "Missing required parameter: 'model'.")
  const reply = world.reply(turn.request, askedOf(turn.body, key.id))
  const items = outputItems(reply, key.id)
  return responseEvents({ model, items, usage: usageOf(turn, reply, key.cache), now: world.now() })
}

const invalidKey = json(401, {
  error: {
    message: 'Incorrect API key provided.',
    type: 'invalid_request_error',
    param: null,
    code: 'invalid_api_key',
  },
})
