import { createHash } from 'node:crypto'
import { field, list, text } from './json.js'
import type { SimRequest } from './request.js'

/** One thing that the model says or does. */
export type ReplyItem =
  | { readonly text: string }
  | { readonly reasoning: string }
  /** Calls a function tool; `arguments` is sent as JSON. */
  | { readonly call: string; readonly arguments: object; readonly namespace?: string }
  /** Calls a free-form tool (Codex only): `{ custom: 'exec', input: '…' }`. */
  | { readonly custom: string; readonly input: string }

/** Tokens that a reply claims; a number that is left out is estimated from the request. */
export interface ReplyUsage {
  readonly input?: number
  readonly cached?: number
  readonly output?: number
  readonly reasoning?: number
}

export interface Reply {
  readonly items: readonly ReplyItem[]
  readonly usage?: ReplyUsage
}

/** A request to the model, in the words of neither API. */
export interface ModelRequest {
  readonly request: SimRequest
  readonly model: string | undefined
  readonly account: string
  /** The last text of the user. */
  readonly prompt: string
  /** The outputs of tools since then, in order. */
  readonly toolOutputs: readonly string[]
  /** Tokens at the beginning of the prompt that the account's prompt cache holds. */
  readonly cachedTokens: number
  /** The JSON schema that the answer must fit. The client asks such questions itself; no script answers them. */
  readonly schema: unknown
}

/** A script returns a text, the items of the model in order, or items with the tokens that they claim. */
export type ReplyScript = (asked: ModelRequest) => string | readonly ReplyItem[] | Reply

export const defaultReply: ReplyScript = () => 'Hello from the simulator.'

/** The model's reply to a request. A client that demands JSON would fail on the prose of a script. */
export function replyTo(asked: ModelRequest, script: ReplyScript): Reply {
  if (asked.schema !== undefined) return { items: [{ text: JSON.stringify(fromSchema(asked.schema)) }] }
  const scripted = script(asked)
  if (typeof scripted === 'string') return { items: [{ text: scripted }] }
  return 'items' in scripted ? scripted : { items: scripted }
}

/** A text in the pieces in which it is streamed: words with the blank that follows. */
export function pieces(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? []
}

const VALUES: Record<string, unknown> = {
  string: 'simulated',
  number: 1,
  integer: 1,
  boolean: false,
  array: [],
}

/** The smallest value that fits a JSON schema. */
function fromSchema(schema: unknown): unknown {
  const [choice] = list(schema, 'enum')
  if (choice !== undefined) return choice
  const type = (text(schema, 'type') ?? text(schema, 'type', 0) ?? 'object').toLowerCase()
  if (type !== 'object') return VALUES[type] ?? null
  const properties = Object.entries(field(schema, 'properties') ?? {})
  return Object.fromEntries(properties.map(([name, property]) => [name, fromSchema(property)]))
}

/** Four characters make a token: near enough to be plausible, and simple enough to be foreseen by a test. */
const CHARACTERS = 4

export const countTokens = (value: unknown): number =>
  Math.ceil(JSON.stringify(value ?? '').length / CHARACTERS)

/** OpenAI caches prompts from 1,024 tokens on and counts them in steps of 128; Google does it much alike. */
const LEAST_TOKENS = 1024
const BLOCK_TOKENS = 128

/** Prefixes that one account remembers; a test run of days must not fill the memory. */
const MOST = 50_000

/**
 * The prompt cache of one account. The real ones keep the beginnings of earlier prompts, whichever conversation they
 * came from, and count the tokens of the longest one that a new prompt shares. On another account it finds nothing.
 */
export class PromptCache {
  readonly #prefixes = new Set<string>()

  /** Tokens of the longest known beginning. From now on, every beginning of this prompt is known. */
  read(model: string, items: readonly unknown[]): number {
    const prompt = items.map((item) => JSON.stringify(item)).join('\n')
    const size = BLOCK_TOKENS * CHARACTERS
    let cached = 0
    let prefix = model
    for (let end = size; end <= prompt.length; end += size) {
      const block = prompt.slice(end - size, end)
      prefix = createHash('sha1').update(`${prefix} ${block}`).digest('base64')
      if (this.#prefixes.delete(prefix)) cached = end / CHARACTERS
      this.#prefixes.add(prefix)
    }
    for (const oldest of this.#prefixes) {
      if (this.#prefixes.size <= MOST) break
      this.#prefixes.delete(oldest)
    }
    return cached < LEAST_TOKENS ? 0 : cached
  }
}
