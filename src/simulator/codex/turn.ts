import { type Answer, json } from '../answer.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { askedOf } from './asked.js'
import { badRequest, invalidRequest, usageLimitBody } from './errors.js'
import { responseEvents } from './events.js'
import { compaction, type Item, outputItems } from './output.js'
import { fullWindow, spend } from './quota.js'
import { quotaHeaders } from './quota-report.js'
import { usageOf } from './usage.js'

/** One question to the model: the body of a request, or what a frame and those before it make together. */
export interface Turn {
  readonly request: SimRequest
  readonly body: unknown
  /** Length of the body, which the tokens of its input are estimated from. */
  readonly length: number
}

/** What the model makes of a turn on a ChatGPT account: the events of a response, or a refusal. */
export function takeTurn(turn: Turn, account: CodexAccount, world: World): Answer | readonly Item[] {
  const refused = overLimit(account, world) ?? foreignReasoning(turn.body, account, world)
  if (refused) return refused
  const { request, body } = turn
  const reply = world.reply(request, askedOf(body, account.id))
  const items = isCompaction(body) ? [compaction(account.id)] : outputItems(reply, account.id)
  const usage = usageOf(turn, reply, account.cache)
  spend(account.windows)
  return responseEvents({ model: modelOf(body), items, usage, now: world.now() })
}

export const modelOf = (body: unknown): string => text(body, 'model') ?? 'simulated'

/** A conversation that has grown too long is sent with this at its end, and one compaction item is expected. */
const isCompaction = (body: unknown): boolean =>
  text(list(body, 'input').at(-1), 'type') === 'compaction_trigger'

/** Why a turn is refused before anything else is looked at. */
export function badTurn(body: unknown, account: CodexAccount): Answer | undefined {
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
function foreignReasoning(body: unknown, account: CodexAccount, world: World): Answer | undefined {
  if (!world.strictHistory) return undefined
  const foreign = list(body, 'input').find((item) => {
    const encrypted = text(item, 'encrypted_content')
    return encrypted !== undefined && !encrypted.startsWith(`enc-${account.id}-`)
  })
  if (!foreign) return undefined
  const message = `The encrypted content for item ${text(foreign, 'id') ?? 'unknown'} could not be verified.`
  return invalidRequest('invalid_encrypted_content', message)
}
