import type { Answer, ClientRequest, Verdict } from '../../config/provider.js'
import { type Fields, fields, list, objects, text } from '../json.js'
import { failedResponse } from '../openai.js'
import type { UpstreamError } from './errors.js'

/** "The encrypted content gAAA… could not be verified", "Failed to decrypt the compaction item", and the like. */
const UNREADABLE =
  /encrypted[ _-]?(content|reasoning|item|message|payload|output|data)|\bdecrypt|\b(reasoning|compaction|item)\b.{0,80}could not be verified|item with id '?rs_/is

/**
 * The verdict on a refusal of content that another account encrypted: the request without that content, or the next
 * account if the request would lose the whole conversation with it.
 */
export function readable(error: UpstreamError, request: ClientRequest): Verdict | undefined {
  const { status = 400 } = error
  if (status < 400 || [401, 402, 403, 429].includes(status)) return undefined
  if (!error.words.some((word) => /encrypt|decrypt/.test(word)) && !UNREADABLE.test(error.message))
    return undefined
  const body = fields(request.json())
  if (!body) return undefined
  const reason = 'invalid_encrypted_content'
  if (isAllCompacted(body) && !isCompaction(body))
    return { kind: 'refused', reason, replacement: compactAnew }
  const input = list(body.input)
  const kept = input.flatMap(withoutEncrypted)
  const changed = kept.length !== input.length || kept.some((item, index) => item !== input[index])
  return changed ? { kind: 'repair', reason, body: { ...body, input: kept } } : undefined
}

/**
 * On this code Codex ends the turn and makes a new summary before the next one. Its request for that summary is sent
 * without the old one.
 */
const compactAnew: Answer = {
  status: 200,
  headers: { 'content-type': 'text/event-stream' },
  body: failedResponse(
    'context_length_exceeded',
    'The summary of this conversation was encrypted for an account that cannot serve now, and no other can read it. ' +
      'Go on to have a new summary made, or start a new conversation.',
  ),
}

const COMPACTED = new Set(['compaction', 'compaction_summary', 'context_compaction'])

/** Whether an encrypted summary stands for everything that was said before it. */
export function isAllCompacted(body: Fields): boolean {
  const items = objects(body.input)
  const at = items.findIndex(isCompacted)
  return at >= 0 && !items.slice(0, at).some(isSpoken)
}

const isCompacted = (item: Fields) =>
  COMPACTED.has(text(item.type) ?? '') && text(item.encrypted_content) !== undefined

/** Codex puts its instructions and surroundings into messages of the user, too; they begin with a tag or a heading. */
function isSpoken({ role, content }: Fields): boolean {
  if (role === 'assistant') return true
  const said = text(content) ?? text(objects(content)[0]?.text) ?? ''
  return role === 'user' && !/^\s*(<|# AGENTS\.md)/.test(said)
}

/** Whether the request itself asks for a summary: then losing the old one is better than never getting a new one. */
function isCompaction(body: Fields): boolean {
  return objects(body.input).some(({ type }) => type === 'compaction_trigger')
}

const NOTE = '[This part was encrypted for another account and cannot be read any more.]'

/** An item of the input without its encrypted content. Its plain text stays. */
function withoutEncrypted(item: unknown): unknown[] {
  const one = fields(item)
  if (!one) return [item]
  // A reasoning item is refused without any content, and with content of another account.
  if (one.type === 'reasoning' && (hasEncrypted(one) || list(one.content).length === 0)) return []
  if (!hasEncrypted(one)) return [item]
  if (COMPACTED.has(text(one.type) ?? '')) return [noteFrom('developer')]
  const stripped = strip(one) as Fields
  // An item that must have content or an output is refused without; a call without its output, too.
  if (one.type === 'function_call_output' || one.type === 'custom_tool_call_output')
    return [{ ...stripped, output: stripped.output ?? NOTE }]
  if (one.type === 'function_call') return [{ ...stripped, arguments: stripped.arguments ?? '{}' }]
  const isMessage = one.type === 'message' || one.role !== undefined
  return [
    isMessage && stripped.content === undefined ? { ...stripped, content: notesOf(one.role) } : stripped,
  ]
}

const noteFrom = (role: string) => ({ type: 'message', role, content: notesOf(role) })
const notesOf = (role: unknown) => [{ type: role === 'assistant' ? 'output_text' : 'input_text', text: NOTE }]

/** `encrypted_content`, and `encrypted_function_args` of a call. */
const isEncrypted = (name: string, field: unknown) =>
  name.startsWith('encrypted_') && text(field) !== undefined

function hasEncrypted(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasEncrypted)
  const one = fields(value)
  if (!one) return false
  return Object.entries(one).some(([name, field]) => isEncrypted(name, field) || hasEncrypted(field))
}

/** Takes encrypted content out at any depth. A part of a list that is nothing else becomes a note. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip)
  const one = fields(value)
  if (!one || !hasEncrypted(one)) return value
  if (one.type === 'encrypted_content') return { type: 'input_text', text: NOTE }
  const kept = Object.entries(one).filter(([name, field]) => !isEncrypted(name, field))
  return Object.fromEntries(kept.map(([name, field]) => [name, strip(field)]))
}
