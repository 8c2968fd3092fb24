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
