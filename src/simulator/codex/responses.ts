import { type Answer, eventStream, json } from '../answer.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { askedOf } from './asked.js'
import { badRequest, invalidRequest, usageLimitBody } from './errors.js'
import { responseEvents, sseFrame } from './events.js'
import { MODELS_ETAG } from './models.js'
import { compaction, outputItems } from './output.js'
import { fullWindow, quotaHeaders, roll, spend } from './quota.js'
import type { TurnStates } from './turn-state.js'
import { usageOf } from './usage.js'

/** `POST /codex/responses`, with the checks in the order of the real one. */
export function createResponses(turnStates: TurnStates, world: World) {
  return function responses(request: SimRequest, account: CodexAccount): Answer {
    roll(account.windows, world.now())
    turnStates.check(request, account.id)
    const refused =
      badBody(request, account) ?? overLimit(account, world) ?? foreignReasoning(request, account, world)
    if (refused) return refused
    const reply = world.reply(request, askedOf(request.json, account.id))
    const items = isCompaction(request) ? [compaction(account.id)] : outputItems(reply, account.id)
    const usage = usageOf(request, reply, account.cache)
    spend(account.windows)
    const events = responseEvents({ model: modelOf(request), items, usage, now: world.now() })
    return eventStream({ events, frame: sseFrame }, headersOf(request, account, turnStates, world))
  }
}

/** A conversation that has grown too long is sent with this at its end, and one compaction item is expected. */
const isCompaction = (request: SimRequest): boolean =>
  text(list(request.json, 'input').at(-1), 'type') === 'compaction_trigger'

const modelOf = (request: SimRequest): string => text(request.json, 'model') ?? 'simulated'

/** A body that this runtime cannot decode is taken on trust. */
function badBody(
  { json: body, encoding, raw, body: decoded }: SimRequest,
  account: CodexAccount,
): Answer | undefined {
  if (encoding === 'zstd' && decoded === raw) return undefined
  if (body === undefined) return badRequest('Invalid JSON body')
  if (field(body, 'stream') !== true) return badRequest('Stream must be set to true')
  if (field(body, 'store') !== false) return badRequest('Store must be set to false')
  if (!Array.isArray(field(body, 'input'))) return badRequest('Input must be a list')
  const model = text(body, 'model')
  if (model === undefined) return badRequest('Model is required')
  if (account.models?.includes(model) ?? true) return undefined
  return badRequest(`The '${model}' model is not supported when using Codex with a ChatGPT account.`)
}

function overLimit(account: CodexAccount, world: World): Answer | undefined {
  const full = fullWindow(account.windows)
  if (!full || account.credits.unlimited || account.credits.hasCredits) return undefined
  const headers = quotaHeaders(account.windows, account.credits, account.plan, world.now())
  return json(429, usageLimitBody(account.plan, full.resetsAt, world.now()), headers)
}

/** Reasoning is encrypted for the account that got it; `strictHistory` refuses it from another. */
function foreignReasoning(request: SimRequest, account: CodexAccount, world: World): Answer | undefined {
  if (!world.strictHistory) return undefined
  const foreign = list(request.json, 'input').find((item) => {
    const encrypted = text(item, 'encrypted_content')
    return encrypted !== undefined && !encrypted.startsWith(`enc-${account.id}-`)
  })
  if (!foreign) return undefined
  const message = `The encrypted content for item ${text(foreign, 'id') ?? 'unknown'} could not be verified.`
  return invalidRequest('invalid_encrypted_content', message)
}

function headersOf(request: SimRequest, account: CodexAccount, turnStates: TurnStates, world: World) {
  return {
    ...quotaHeaders(account.windows, account.credits, account.plan, world.now()),
    'cache-control': 'no-cache',
    'openai-model': modelOf(request),
    'openai-processing-ms': '1',
    'x-models-etag': MODELS_ETAG,
    'x-codex-turn-state': turnStates.issue(account.id),
    'set-cookie': `__cf_bm=sim-${account.id}; path=/; HttpOnly; Secure; SameSite=None`,
  }
}
