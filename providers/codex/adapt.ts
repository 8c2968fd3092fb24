import type { Adaptation, Answer, ClientRequest, Provider } from '../../config/provider.js'
import { join } from '../http.js'
import { type Fields, fields, list, objects, text } from '../json.js'
import { chatStream, chatWhole } from './chat-answer.js'
import { toResponses, Untranslatable } from './chat-request.js'
import { isApiKey, type ResolvedCodexSettings } from './credentials.js'
import type { AnsweredItems, OwnItems } from './items.js'
import { withoutModel } from './models.js'
import { isCodexs, placeOf } from './requests.js'
import { filledStream, refusalBody, wholeResponse } from './response-events.js'

/** The ChatGPT backend has the Responses API alone, and takes one form of request: Codex's. Others are put into it. */
export function adapt(
  { responsesBase }: ResolvedCodexSettings,
  items: AnsweredItems,
): NonNullable<Provider['adapt']> {
  return function adapt(request, account, body) {
    const api = apiOf(request)
    if (api === undefined) return withoutModel(request, account)
    // Codex's own requests go byte for byte, and their bodies are not even parsed.
    if (isApiKey(account.credential) || isCodexs(request)) return undefined
    const json = fields(body())
    try {
      if (api === 'responses') return json && adaptedResponses(json, items.of(request.client, account.id))
      if (json) return adaptedChat(json, join(responsesBase, '/responses'))
    } catch (error) {
      if (error instanceof Untranslatable) return refused(error.param, error.message)
      throw error
    }
    const message = 'A chat request on a ChatGPT account must be JSON of at most maxReplayBytes.'
    return refused(null, message, 'invalid_body')
  }
}

/** The API of a request that may have to be adapted. */
export function apiOf({ method, path }: ClientRequest): 'responses' | 'chat' | undefined {
  const { area, rest } = placeOf(path)
  if (method !== 'POST' || area !== 'responses') return undefined
  return rest === '/responses' ? 'responses' : rest === '/chat/completions' ? 'chat' : undefined
}

function refused(param: string | null, message: string, code = 'unsupported_parameter'): Adaptation {
  const body = { error: { message, type: 'invalid_request_error', param, code } }
  return { refusal: { status: 400, body } satisfies Answer }
}

function adaptedChat(chat: Fields, path: string): Adaptation {
  const body = fitting(toResponses(chat))
  const model = text(chat.model) ?? ''
  if (chat.stream !== true) return { path, body, answer: chatWhole(model) }
  const withUsage = fields(chat.stream_options)?.include_usage === true
  return { path, body, answer: chatStream(model, withUsage) }
}

function adaptedResponses(given: Fields, items: OwnItems): Adaptation {
  // Nothing is stored: without its encrypted content the client could not send the reasoning back.
  const include = [...new Set([...list(given.include), 'reasoning.encrypted_content'])]
  const body = isFitting(given)
    ? undefined
    : { ...fitting({ ...given, input: items.whole(given.input) }), include }
  const keep = given.store === false ? undefined : items.keep
  if (given.stream !== true) return { body, answer: { ...wholeResponse(keep), refusal: refusalBody } }
  return { body, answer: { ...filledStream(keep), ...(body && { refusal: refusalBody }) } }
}

/**
 * Parameters that the backend refuses with `Unsupported parameter: NAME`, by public reports. None of them changes what a
 * request asks for: limits, sampling, labels, and storage that it does not have.
 */
const REFUSED: ReadonlySet<string> = new Set([
  'max_output_tokens',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'frequency_penalty',
  'presence_penalty',
  'metadata',
  'user',
  'safety_identifier',
  'prompt_cache_retention',
  'truncation',
  'context_management',
  'stream_options',
])

/** Parameters that need what OpenAI keeps between requests; the backend keeps nothing. */
const STORED: Readonly<Record<string, string>> = {
  previous_response_id: 'Send the whole conversation in "input", with "store": false.',
  conversation: 'Send the whole conversation in "input", with "store": false.',
  prompt: 'Send the text of the prompt in "instructions" and "input".',
  background: 'Send the request without it.',
}

/** Tiers that the backend knows. */
const TIERS: ReadonlySet<unknown> = new Set(['priority', 'fast'])

/** Whether the backend takes a body as it is. */
function isFitting(body: Fields): boolean {
  const { stream, store, instructions, input, service_tier } = body
  if (stream !== true || store !== false || text(instructions) === undefined || !Array.isArray(input))
    return false
  if (service_tier !== undefined && !TIERS.has(service_tier)) return false
  if ([...REFUSED, ...Object.keys(STORED)].some((name) => body[name] !== undefined)) return false
  return !objects(input).some(
    (item) => item.role === 'system' || item.type === 'item_reference' || isBare(item),
  )
}

/** A plain request in the form that the backend takes. */
function fitting(given: Fields): Fields {
  for (const [param, way] of Object.entries(STORED))
    if (given[param])
      throw new Untranslatable(param, `A ChatGPT account keeps nothing, so "${param}" cannot be used. ${way}`)
  const kept = Object.entries(given).filter(([name]) => !REFUSED.has(name) && !Object.hasOwn(STORED, name))
  const { service_tier, ...body }: Fields = Object.fromEntries(kept)
  const { instructions, input } = withInstructions(text(given.instructions), itemsOf(given.input))
  return {
    ...body,
    ...(TIERS.has(service_tier) && { service_tier }),
    instructions,
    input,
    store: false,
    stream: true,
  }
}

function itemsOf(input: unknown): readonly unknown[] {
  if (typeof input !== 'string') return list(input).filter((item) => !isBare(fields(item)))
  return [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: input }] }]
}

/** Reasoning whose content is stored elsewhere. */
const isBare = (item: Fields | undefined): boolean =>
  item?.type === 'reasoning' && text(item.encrypted_content) === undefined

/** Without any, the backend answers `Instructions are required`. */
const NO_INSTRUCTIONS = 'You are a helpful assistant.'

/**
 * The backend wants instructions, and no system messages. Those at the beginning become the instructions, where there are
 * none; later ones are a developer's, which have the same weight.
 */
function withInstructions(given: string | undefined, items: readonly unknown[]) {
  const first = given === undefined ? items.findIndex((item) => instructionIn(item) === undefined) : 0
  const leading = first < 0 ? items.length : first
  const said = items.slice(0, leading).map(instructionIn).join('\n\n')
  const input = items.slice(leading).map((item) => {
    const one = fields(item)
    return one?.role === 'system' ? { ...one, role: 'developer' } : item
  })
  return { instructions: given ?? (said === '' ? NO_INSTRUCTIONS : said), input }
}

/** The text of a message of the system or the developer; `undefined` for any other item, and for one with an image. */
function instructionIn(item: unknown): string | undefined {
  const { role, content } = fields(item) ?? {}
  if (role !== 'system' && role !== 'developer') return undefined
  if (typeof content === 'string') return content
  const texts = list(content).map((part) => fields(part)?.text)
  return texts.every((one) => typeof one === 'string') ? texts.join('\n') : undefined
}
