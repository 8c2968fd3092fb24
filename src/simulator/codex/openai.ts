import { type Answer, eventStream, json, notFound } from '../answer.js'
import { field, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Upstream, World } from '../upstream.js'
import { askedOf } from './asked.js'
import { invalidRequest } from './errors.js'
import { responseEvents, sseFrame, wholeResponse } from './events.js'
import { outputItems } from './output.js'
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
  return {
    kind: 'openai',
    owns: (path) => path.startsWith(ROOT),
    account: (request) => holder(request)?.id,
    answer(request) {
      const key = holder(request)
      if (!key || key.revoked) return invalidKey
      const route = `${request.method} ${request.path.slice(ROOT.length)}`
      if (route === 'GET models') return json(200, { object: 'list', data: [] })
      return route === 'POST responses' ? responses(request, key, world) : notFound
    },
  }
}

/** Without `stream: true` the whole response comes as one JSON object. */
function responses(request: SimRequest, key: OpenAiKey, world: World): Answer {
  const model = text(request.json, 'model')
  if (model === undefined)
    return invalidRequest('missing_required_parameter', "Missing required parameter: 'model'.")
  const reply = world.reply(request, askedOf(request.json, key.id))
  const items = outputItems(reply, key.id)
  const given = { model, items, usage: usageOf(request, reply, key.cache), now: world.now() }
  const headers = { 'openai-processing-ms': '1', 'x-ratelimit-remaining-requests': '999' }
  if (field(request.json, 'stream') !== true) return json(200, wholeResponse(given), headers)
  return eventStream({ events: responseEvents(given), frame: sseFrame }, headers)
}

const invalidKey = json(401, {
  error: {
    message: 'Incorrect API key provided.',
    type: 'invalid_request_error',
    param: null,
    code: 'invalid_api_key',
  },
})
