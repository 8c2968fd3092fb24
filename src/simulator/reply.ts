import { fromSchema } from './schema.js'
import type { SimRequest } from './request.js'
import type { Asked } from './upstream.js'

/** One thing that the model says or does. */
export type ReplyItem =
  | { readonly text: string }
  | { readonly reasoning: string }
  /** Calls a function tool; `arguments` is sent as JSON. */
  | { readonly call: string; readonly arguments: object; readonly namespace?: string }
  /** Calls a free-form tool (Codex only): `{ custom: 'exec', input: '…' }`. */
  | { readonly custom: string; readonly input: string }

/** Tokens that a reply claims; what is left out is estimated from the request. */
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

/** A request to the model, as a script sees it. */
export interface ModelRequest extends Asked {
  readonly request: SimRequest
}

/** What a script may return: a text, what the model does in order, or that with the tokens it claims. */
export type ScriptedReply = string | readonly ReplyItem[] | Reply

export type ReplyScript = (asked: ModelRequest) => ScriptedReply

export const defaultReply: ReplyScript = () => 'Hello from the simulator.'

/** What the model says to a request. One that demands JSON is the client's own and never reaches the script. */
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
