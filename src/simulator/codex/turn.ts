import { countTokens, type ModelRequest, type PromptCache, type Reply } from '../model.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, json, type World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { badRequest, invalidRequest, unreadable, usageLimitBody } from './errors.js'
import { canRead, compaction, type Item, outputItems, responseEvents } from './output.js'
import { fullWindow, type ModelLimit, quotaHeaders, roll, spend } from './quota.js'

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
  const refused = overLimit(turn, account, world) ?? foreignContent(turn.body, account, world)
  if (refused) return refused
  spend(limitOf(turn.body, account)?.windows ?? account.windows, account.credits)
  return generate(turn, account, world)
}

/** The quota that a model has of its own, if it has one. */
export const limitOf = (body: unknown, { modelLimits }: CodexAccount): ModelLimit | undefined =>
  modelLimits.find(({ model }) => model === text(body, 'model'))

/** The events of a response to a turn that is not refused. */
export function generate(turn: Turn, { id, cache }: Payer, world: World): Item[] {
  const cachedTokens = cachedIn(turn.body, cache)
  const reply = world.reply(askedOf(turn, id, cachedTokens))
  const items = isCompaction(turn.body) ? [compaction(id)] : outputItems(reply, id)
  return responseEvents({
    model: modelOf(turn.body),
    items,
    usage: usageOf(turn, reply, cachedTokens),
    now: world.now(),
  })
}

/** Answers a frame with `generate: false`: it fills the cache, has no output, and uses no quota. */
export function prewarm(turn: Turn, { cache }: Payer, world: World): Item[] {
  const usage = usageOf(turn, { items: [], usage: { output: 0 } }, cachedIn(turn.body, cache))
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

function overLimit({ body }: Turn, account: CodexAccount, world: World): Answer | undefined {
  const limit = limitOf(body, account)
  const windows = limit?.windows ?? account.windows
  roll(windows, world.now())
  const full = fullWindow(windows)
  const { unlimited, hasCredits } = account.credits
  if (!full || account.servesWhenFull || (!limit && (unlimited || hasCredits))) return undefined
  const refusal = usageLimitBody(account.plan, full.resetsAt, world.now())
  return json(429, refusal, quotaHeaders(account, world.now(), limit))
}

/** Content is encrypted for the account that got it; `strictHistory` refuses it from another. */
function foreignContent(body: unknown, account: CodexAccount, world: World): Answer | undefined {
  const input = list(body, 'input')
  const bare = input.findIndex(
    (item) => /^compaction(_summary)?$/.test(text(item, 'type') ?? '') && !text(item, 'encrypted_content'),
  )
  if (bare >= 0)
    return invalidRequest(
      'missing_required_parameter',
      `Missing required parameter: 'input[${bare}].encrypted_content'.`,
    )
  if (world.strictHistory === false) return undefined
  const wording = world.strictHistory === true ? 'item' : world.strictHistory
  for (const item of input) {
    const content = encryptedIn(item).find((it) => !canRead(it, account.id))
    if (content !== undefined) return unreadable(wording, text(item, 'id') ?? 'unknown', content)
  }
  return undefined
}

/** Every `encrypted_content` in a value, however deep: messages of sub-agents and outputs of tools hold it too. */
function encryptedIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'encrypted_content' && typeof inner === 'string' ? [inner] : encryptedIn(inner),
  )
}

/** Reads a Responses request as a script wants it. */
function askedOf({ request, body }: Turn, account: string, cachedTokens: number): ModelRequest {
  const input = inputOf(body)
  const lastUser = input.findLastIndex((item) => text(item, 'role') === 'user')
  const since = input.slice(lastUser + 1).filter((item) => text(item, 'type')?.endsWith('_call_output'))
  return {
    request,
    model: text(body, 'model'),
    account,
    prompt: textOf(input[lastUser], 'content'),
    toolOutputs: since.map((item) => textOf(item, 'output')),
    cachedTokens,
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

function cachedIn(body: unknown, cache: PromptCache): number {
  return cache.read(modelOf(body), [field(body, 'instructions'), field(body, 'tools'), ...inputOf(body)])
}

function usageOf({ length }: Turn, { items, usage = {} }: Reply, cachedTokens: number): object {
  const input = usage.input ?? Math.ceil(length / 4)
  const output = usage.output ?? countTokens(items)
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.cached ?? Math.min(input, cachedTokens) },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
    total_tokens: input + output,
  }
}
