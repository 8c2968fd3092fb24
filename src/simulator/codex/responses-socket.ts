import type { Answer } from '../answer.js'
import { field } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Dialogue, World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { ResponsesDialogue } from './dialogue.js'
import { badRequest } from './errors.js'
import { responseEvents } from './events.js'
import { MODELS_ETAG } from './models.js'
import type { Item } from './output.js'
import { roll } from './quota.js'
import { quotaFrame } from './quota-report.js'
import { cookieOf } from './responses.js'
import { badTurn, modelOf, takeTurn, type Turn } from './turn.js'
import { TURN_STATE, type TurnStates } from './turn-state.js'
import { usageOf } from './usage.js'

/** `GET /codex/responses` as a WebSocket. */
export function createResponsesSocket(turnStates: TurnStates, world: World) {
  return function upgrade(request: SimRequest, account: CodexAccount): Answer | Dialogue {
    if (!String(request.headers['openai-beta']).startsWith('responses_websockets='))
      return badRequest('WebSockets need the header OpenAI-Beta: responses_websockets=DATE')
    const headers = { 'x-models-etag': MODELS_ETAG, 'set-cookie': cookieOf(account) }
    return new ResponsesDialogue(headers, (body) => {
      roll(account.windows, world.now())
      turnStates.check(request, field(body, 'client_metadata', TURN_STATE), account.id)
      const turn = { request, body, length: JSON.stringify(body).length }
      const refused = badTurn(body, account)
      if (refused) return refused
      if (field(body, 'generate') === false) return prewarm(turn, account, world)
      const taken = takeTurn(turn, account, world)
      return 'status' in taken ? taken : [...preface(body, account, turnStates, world), ...taken]
    })
  }
}

/** Loads what will be asked about, and asks nothing: a response without output, which no quota pays for. */
export function prewarm(turn: Turn, { cache }: Pick<CodexAccount, 'cache'>, world: World): Item[] {
  const usage = usageOf(turn, { items: [], usage: { output: 0 } }, cache)
  return responseEvents({ model: modelOf(turn.body), items: [], usage, now: world.now() })
}

/** What HTTP says in headers. */
function preface(body: unknown, account: CodexAccount, turnStates: TurnStates, world: World): Item[] {
  const headers = { 'openai-model': modelOf(body), [TURN_STATE]: turnStates.issue(account.id) }
  return [
    quotaFrame(account.windows, account.credits, account.plan, world.now()),
    { type: 'response.metadata', headers },
  ]
}
