import { randomBytes } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, type Dialogue, eventStream, type World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { badRequest, invalidRequest, previousNotFound } from './errors.js'
import { type Item, sseFrame } from './output.js'
import { quotaFrame, quotaHeaders, roll } from './quota.js'
import { badTurn, limitOf, modelOf, prewarm, takeTurn } from './turn.js'

/** Also sent as `x-models-etag`: a different value would make the client ask again after every response. */
export const MODELS_ETAG = '"simulator-1"'

/** A header over HTTP, a field of `client_metadata` over a WebSocket. */
const TURN_STATE = 'x-codex-turn-state'

/** `POST /codex/responses`, with the checks in the order of the real one. */
export function responses(request: SimRequest, account: CodexAccount, world: World): Answer {
  roll(account.windows, world.now())
  checkTurnState(request, request.headers[TURN_STATE], account, world)
  const body = request.json
  const refused = badBody(request, account)
  if (refused) return refused
  const taken = takeTurn({ request, body, length: request.body.length }, account, world)
  if (!Array.isArray(taken)) return taken
  return eventStream(
    { events: taken.map(withoutOutput), frame: sseFrame },
    {
      ...quotaHeaders(account, world.now(), limitOf(body, account)),
      'cache-control': 'no-cache',
      'openai-model': modelOf(body),
      'openai-processing-ms': '1',
      'x-models-etag': MODELS_ETAG,
      [TURN_STATE]: newTurnState(account),
      'set-cookie': cookieOf(account),
    },
  )
}

/** A body that this runtime cannot decode is taken on trust. */
function badBody(request: SimRequest, account: CodexAccount): Answer | undefined {
  const { json: body, encoding, raw, body: decoded } = request
  if (encoding === 'zstd' && decoded === raw) return undefined
  if (body === undefined) return badRequest('Invalid JSON body')
  if (field(body, 'stream') !== true) return badRequest('Stream must be set to true')
  return badTurn(body, account) ?? badForm(request)
}

/** Parameters of the public API that the backend refuses. */
const UNSUPPORTED = [
  'max_output_tokens',
  'max_completion_tokens',
  'max_tokens',
  'temperature',
  'top_p',
  'metadata',
  'user',
  'truncation',
  'safety_identifier',
  'prompt_cache_retention',
  'stream_options',
  'context_management',
  'previous_response_id',
  'background',
  'messages',
]

/** Refuses the forms of plain clients. Codex 0.169 has its instructions in the input, with every model. */
function badForm({ json: body, headers }: SimRequest): Answer | undefined {
  const isLite = headers['x-openai-internal-codex-responses-lite'] !== undefined
  const isCodex = String(headers.originator).startsWith('codex')
  if (!isLite && !isCodex && text(body, 'instructions') === undefined)
    return badRequest('Instructions are required')
  const parameter = UNSUPPORTED.find((name) => field(body, name) !== undefined)
  if (parameter !== undefined) return badRequest(`Unsupported parameter: ${parameter}`)
  const tier = field(body, 'service_tier')
  if (tier !== undefined && tier !== 'priority' && tier !== 'fast')
    return badRequest(`Unsupported service_tier: ${String(tier)}`)
  const input = list(body, 'input')
  if (input.some((item) => text(item, 'role') === 'system'))
    return badRequest('System messages are not allowed')
  const lost = input.find(
    (item) =>
      text(item, 'type') === 'item_reference' ||
      (text(item, 'type') === 'reasoning' && !text(item, 'encrypted_content')),
  )
  return lost === undefined
    ? undefined
    : invalidRequest(
        'invalid_value',
        `Item with id '${text(lost, 'id') ?? ''}' not found. Items are not persisted when \`store\` is set to false.`,
      )
}

/** The backend stores nothing, and the last event of its streams has no output. */
function withoutOutput(event: Item): Item {
  const response = field(event, 'response')
  return response === undefined ? event : { ...event, response: { ...(response as object), output: [] } }
}

/** `GET /codex/responses` as a WebSocket. */
export function responsesSocket(request: SimRequest, account: CodexAccount, world: World): Answer | Dialogue {
  if (!String(request.headers['openai-beta']).startsWith('responses_websockets='))
    return badRequest('WebSockets need the header OpenAI-Beta: responses_websockets=DATE')
  const headers = { 'x-models-etag': MODELS_ETAG, 'set-cookie': cookieOf(account) }
  return new ResponsesDialogue(headers, (body) => {
    roll(account.windows, world.now())
    checkTurnState(request, field(body, 'client_metadata', TURN_STATE), account, world)
    const turn = { request, body, length: JSON.stringify(body).length }
    const refused = badTurn(body, account)
    if (refused) return refused
    if (field(body, 'generate') === false) return prewarm(turn, account, world)
    const taken = takeTurn(turn, account, world)
    if (!Array.isArray(taken)) return taken
    // Over HTTP these are headers.
    const metadata = { 'openai-model': modelOf(body), [TURN_STATE]: newTurnState(account) }
    return [
      quotaFrame(account, world.now(), limitOf(body, account)),
      { type: 'response.metadata', headers: metadata },
      ...taken,
    ]
  })
}

/** A value that names its account, so that an echo to another account can be told. Clients take it as opaque. */
const newTurnState = ({ id }: CodexAccount): string => `ts-${id}-${randomBytes(9).toString('base64url')}`

/** An echo of another account's value means that the gateway moved a turn together with the state of its account. */
function checkTurnState(request: SimRequest, echoed: unknown, { id }: CodexAccount, world: World): void {
  if (typeof echoed !== 'string') return
  const [, owner = 'nobody'] = /^ts-(.+)-[\w-]{12}$/.exec(echoed) ?? []
  if (owner !== id) world.violation(request, `${TURN_STATE} of ${owner} sent for ${id}`)
}

/** The cookie of the network in front. It belongs to the account's own requests. */
const cookieOf = ({ id }: CodexAccount): string =>
  `__cf_bm=sim-${id}; path=/; HttpOnly; Secure; SameSite=None`

/** The Responses API over one WebSocket, where a turn may be built on an earlier response of this WebSocket. */
export class ResponsesDialogue implements Dialogue {
  readonly headers: OutgoingHttpHeaders
  readonly #take: (body: object) => Answer | readonly Item[]
  /** The whole conversation up to a response, by the id of that response. */
  readonly #past = new Map<string, readonly unknown[]>()

  /** @param take answers one `response.create`, whose `input` is whole here */
  constructor(headers: OutgoingHttpHeaders, take: (body: object) => Answer | readonly Item[]) {
    this.headers = headers
    this.#take = take
  }

  receive(frame: unknown): readonly object[] {
    const taken = this.#answer(frame)
    return 'status' in taken ? [this.refuse(frame, taken)] : taken
  }

  /** A turn that fails takes the response that it was built on with it. */
  refuse(frame: unknown, { status, body, headers = {} }: Answer): object {
    this.#past.delete(text(frame, 'previous_response_id') ?? '')
    const message = text(body, 'detail') ?? `status ${status}`
    const error = field(body, 'error') ?? { type: 'invalid_request_error', code: null, message, param: null }
    return { type: 'error', status, error, headers }
  }

  #answer(frame: unknown): Answer | readonly Item[] {
    if (text(frame, 'type') !== 'response.create') {
      return invalidRequest('unknown_event', 'The only event that is known here is response.create.')
    }
    const previous = text(frame, 'previous_response_id')
    const past = previous === undefined ? [] : this.#past.get(previous)
    if (!past) return previousNotFound(previous ?? '')
    const input = [...past, ...list(frame, 'input')]
    const taken = this.#take({ ...(frame as object), input })
    if ('status' in taken) return taken
    const response = taken.at(-1)
    const id = text(response, 'response', 'id')
    if (id !== undefined) this.#past.set(id, [...input, ...list(response, 'response', 'output')])
    return taken
  }
}
