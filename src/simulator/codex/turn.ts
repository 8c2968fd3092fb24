import { countTokens, type ModelRequest, type PromptCache, type Reply } from '../model.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, json, type World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { badRequest, invalidRequest, usageLimitBody } from './errors.js'
import { canRead, compaction, type Item, outputItems, responseEvents } from './output.js'
import { fullWindow, quotaHeaders, spend } from './quota.js'

/** One question to the model: the body of a request, or of a frame with the input of the frames before it. */
export interface Turn {
  readonly request: SimRequest
  readonly body: unknown
  /** Length of the body, which the tokens of its input are estimated from. */
  readonly length: number
}

/** The account or the API key that a turn runs on. */
export interface Payer {
  readonly id: string
  readonly cache: PromptCache
}

/** The events of a response to a turn on a ChatGPT account, or a refusal. */
export function takeTurn(turn: Turn, account: CodexAccount, world: World): Answer | Item[] {
  const refused = overLimit(account, world) ?? foreignContent(turn.body, account, world)
  if (refused) return refused
  spend(account.windows)
  return generate(turn, account, world)
}

/** The events of a response to a turn that is not refused. */
export function generate(turn: Turn, { id, cache }: Payer, world: World): Item[] {
  const reply = world.reply(askedOf(turn, id))
  const items = isCompaction(turn.body) ? [compaction(id)] : outputItems(reply, id)
  return responseEvents({
    model: modelOf(turn.body),
    items,
    usage: usageOf(turn, reply, cache),
    now: world.now(),
  })
}

/** Answers a frame with `generate: false`: it fills the cache, has no output, and uses no quota. */
export function prewarm(turn: Turn, { cache }: Payer, world: World): Item[] {
  const usage = usageOf(turn, { items: [], usage: { output: 0 } }, cache)
  return responseEvents({ model: modelOf(turn.body), items: [], usage, now: world.now() })
}

export const modelOf = (body: unknown): string => text(body, 'model') ?? 'simulated'

/** A conversation that has grown too long is sent with this item at its end, and one compaction item is expected. */
const isCompaction = (body: unknown): boolean =>
  text(list(body, 'input').at(-1), 'type') === 'compaction_trigger'

/** Refuses a malformed turn, before the account's quota is looked at. */
export function badTurn(body: unknown, { models }: CodexAccount): Answer | undefined {
  if (field(body, 'store') !== false) return badRequest('Store must be set to false')
  if (!Array.isArray(field(body, 'input'))) return badRequest('Input must be a list')
  const model = text(body, 'model')
  if (model === undefined) return badRequest('Model is required')
  if (models?.includes(model) ?? true) return undefined
  return badRequest(`The '${model}' model is not supported when using Codex with a ChatGPT account.`)
}

function overLimit(account: CodexAccount, world: World): Answer | undefined {
  const full = fullWindow(account.windows)
  if (!full || account.credits.unlimited || account.credits.hasCredits) return undefined
  const body = usageLimitBody(account.plan, full.resetsAt, world.now())
  return json(429, body, quotaHeaders(account, world.now()))
}

/** Reasoning is encrypted for the account that got it; `strictHistory` refuses it from another. */
function foreignContent(body: unknown, account: CodexAccount, world: World): Answer | undefined {
  if (!world.strictHistory) return undefined
  const foreign = list(body, 'input').find((item) => {
    const content = text(item, 'encrypted_content')
    return content !== undefined && !canRead(content, account.id)
  })
  if (!foreign) return undefined
  const message = `The encrypted content for item ${text(foreign, 'id') ?? 'unknown'} could not be verified.`
  return invalidRequest('invalid_encrypted_content', message)
}

/** Reads a Responses request as a script wants it. */
function askedOf({ request, body }: Turn, account: string): ModelRequest {
  const input = inputOf(body)
  const lastUser = input.findLastIndex((item) => text(item, 'role') === 'user')
  const since = input.slice(lastUser + 1).filter((item) => text(item, 'type')?.endsWith('_call_output'))
  return {
    request,
    model: text(body, 'model'),
    account,
    prompt: textOf(input[lastUser], 'content'),
    toolOutputs: since.map((item) => textOf(item, 'output')),
    schema: field(body, 'text', 'format', 'schema'),
  }
}

/** `input` may be a plain string on the OpenAI API. */
function inputOf(body: unknown): unknown[] {
  const plain = text(body, 'input')
  return plain === undefined ? list(body, 'input') : [{ role: 'user', content: plain }]
}

/** A field that holds a text, a list of parts, or an object. */
function textOf(item: unknown, name: string): string {
  const parts = list(item, name)
  if (parts.length > 0) return parts.map((part) => text(part, 'text') ?? '').join('')
  const value = field(item, name)
  return typeof value === 'object' ? JSON.stringify(value) : String(value ?? '')
}

function usageOf({ body, length }: Turn, { items, usage = {} }: Reply, cache: PromptCache): object {
  const input = usage.input ?? Math.ceil(length / 4)
  const prompt = [field(body, 'instructions'), field(body, 'tools'), ...inputOf(body)]
  const cached = cache.read(modelOf(body), prompt)
  const output = usage.output ?? countTokens(items)
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.cached ?? Math.min(input, cached) },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
    total_tokens: input + output,
  }
}
