import { type Answer, eventStream } from '../answer.js'
import { field } from '../json.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { badRequest } from './errors.js'
import { sseFrame } from './events.js'
import { MODELS_ETAG } from './models.js'
import { roll } from './quota.js'
import { quotaHeaders } from './quota-report.js'
import { badTurn, modelOf, takeTurn } from './turn.js'
import { TURN_STATE, type TurnStates } from './turn-state.js'

/** `POST /codex/responses`, with the checks in the order of the real one. */
export function createResponses(turnStates: TurnStates, world: World) {
  return function responses(request: SimRequest, account: CodexAccount): Answer {
    roll(account.windows, world.now())
    turnStates.check(request, request.headers[TURN_STATE], account.id)
    const refused = badBody(request, account)
    if (refused) return refused
    const body = request.json
    const taken = takeTurn({ request, body, length: request.body.length }, account, world)
    if ('status' in taken) return taken
    return eventStream({ events: taken, frame: sseFrame }, headersOf(body, account, turnStates, world))
  }
}

/** A body that this runtime cannot decode is taken on trust. */
function badBody(request: SimRequest, account: CodexAccount): Answer | undefined {
  const { json: body, encoding, raw, body: decoded } = request
  if (encoding === 'zstd' && decoded === raw) return undefined
  if (body === undefined) return badRequest('Invalid JSON body')
  if (field(body, 'stream') !== true) return badRequest('Stream must be set to true')
  return badTurn(body, account)
}

function headersOf(body: unknown, account: CodexAccount, turnStates: TurnStates, world: World) {
  return {
    ...quotaHeaders(account.windows, account.credits, account.plan, world.now()),
    'cache-control': 'no-cache',
    'openai-model': modelOf(body),
    'openai-processing-ms': '1',
    'x-models-etag': MODELS_ETAG,
    [TURN_STATE]: turnStates.issue(account.id),
    'set-cookie': cookieOf(account),
  }
}

/** What the network in front sets on every answer, and must get back from nobody but the account's own requests. */
export const cookieOf = ({ id }: CodexAccount): string =>
  `__cf_bm=sim-${id}; path=/; HttpOnly; Secure; SameSite=None`
