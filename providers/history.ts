import type { HistoryPart, Opening } from '../config/provider.js'
import { type Fields, fields, list, objects, text } from './json.js'

// Requests repeat what was said, and answers are repeated by later requests. Both are read into the same short forms, so
// that they can be compared. Fields that clients add, drop or change on the way (ids, statuses, caching, whitespace),
// reasoning, instructions and tools are left out.

/** Longer histories are cut in the middle: a client that sends more has its latest messages recognised. */
const MOST_MESSAGES = 256
const LATEST_MESSAGES = 32
/** Tools whose names are read. */
const MOST_TOOLS = 16
/** Parts of one message that are read. */
const MOST_BLOCKS = 64
/** Characters of a person's text that are compared, half from each end: a pasted log has megabytes. */
const LONGEST_TEXT = 128
/** Characters of the model's text that are compared, all from its beginning: no more is read of a stream. */
const LONGEST_SAID = 80

/** What the body of a request repeats, in the forms of Responses, chat completions, Gemini and Anthropic. */
export function historyIn(body: Fields, path: string): HistoryPart[] {
  if (/count_?tokens$/i.test(path)) return []
  // Code Assist wraps the request.
  const { contents } = fields(body.request) ?? body
  if (Array.isArray(contents)) return bounded(contents).flatMap(partsOfContent)
  if (Array.isArray(body.messages)) return bounded(body.messages).flatMap(partsOfMessage)
  // Embeddings and moderations have an `input`, too.
  if (!/\/responses(\/compact)?$/.test(path)) return []
  if (typeof body.input === 'string') return asked(short(body.input))
  return bounded(list(body.input)).flatMap(partsOfItem)
}

/** The beginning of what a request instructs, and the names of its first tools. */
export function settingIn(body: Fields): string {
  const inner = fields(body.request) ?? body
  const messages = objects([...list(body.messages).slice(0, 2), ...list(body.input).slice(0, 2)])
  const instructions = [
    body.instructions,
    body.system,
    fields(inner.systemInstruction ?? inner.system_instruction)?.parts,
    ...messages.filter(isInstruction).map(({ content }) => content),
  ]
  const tools = list(inner.tools).slice(0, MOST_TOOLS)
  return [
    ...instructions.flatMap(blocksOf).map(textOf),
    ...objects(tools).map((tool) => text(tool.name) ?? text(fields(tool.function)?.name) ?? ''),
  ].join(' ')
}

function bounded(messages: readonly unknown[]): Fields[] {
  if (messages.length <= MOST_MESSAGES) return objects(messages)
  return objects([...messages.slice(0, MOST_MESSAGES - LATEST_MESSAGES), ...messages.slice(-LATEST_MESSAGES)])
}

const asked = (told: string): HistoryPart[] => (told === '' ? [] : [{ byModel: false, text: told }])
const said = (told: string): HistoryPart[] => (told === '' ? [] : [{ byModel: true, text: told }])

const call = (id: unknown): HistoryPart[] => (text(id) === undefined ? [] : said(`call ${text(id)}`))
/** Old outputs are often replaced by a note that they were long; the id of the call stays. */
const result = (id: unknown): HistoryPart[] => asked(`result ${text(id) ?? ''}`)

function isInstruction({ role }: Fields): boolean {
  return role === 'system' || role === 'developer'
}

/** A chat message, or one of Anthropic's. */
function partsOfMessage(message: Fields): HistoryPart[] {
  if (isInstruction(message)) return []
  const blocks = blocksOf(message.content)
  if (message.role === 'tool' || message.role === 'function')
    return result(message.tool_call_id ?? message.name)
  if (message.role !== 'assistant')
    return [
      ...blocks.filter(({ type }) => type === 'tool_result').flatMap((it) => result(it.tool_use_id)),
      ...asked(blocks.map(textOf).join('')),
    ]
  const legacy = fields(message.function_call)
  return [
    ...said(modelText(blocks.map(({ text }) => text))),
    ...objects(message.tool_calls).flatMap(({ id }) => call(id)),
    ...blocks.filter(({ type }) => type === 'tool_use').flatMap(({ id }) => call(id)),
    ...(legacy ? said(callWithoutId(legacy.name, legacy.arguments)) : []),
  ]
}

/** An item of the Responses API. */
function partsOfItem(item: Fields): HistoryPart[] {
  const { type, role, content } = item
  if (isInstruction(item)) return []
  if (role === 'assistant') return said(modelText(blocksOf(content).map((it) => it.text ?? it.refusal)))
  if (text(role) !== undefined) return asked(blocksOf(content).map(textOf).join(''))
  // The client repeats what the model said by its id alone. Not every client repeats reasoning.
  if (type === 'item_reference') return String(item.id).startsWith('rs_') ? [] : said(`ref ${text(item.id)}`)
  if (type === 'compaction') return said(`compaction ${text(item.encrypted_content)?.slice(-LONGEST_SAID)}`)
  if (item.call_id === undefined) return []
  return String(type).endsWith('_output') ? result(item.call_id) : call(item.call_id)
}

/** A content of the Gemini API. Its calls have no ids of their own. */
function partsOfContent({ role, parts }: Fields): HistoryPart[] {
  const blocks = blocksOf(parts).filter(({ thought }) => thought !== true)
  const calls = objects(blocks.map((it) => it.functionCall ?? it.function_call))
  if (role === 'model')
    return [
      ...said(modelText(blocks.map(({ text }) => text))),
      ...calls.flatMap(({ name, args }) => said(callWithoutId(name, args))),
    ]
  const results = objects(blocks.map((it) => it.functionResponse ?? it.function_response))
  return [...results.flatMap(({ name }) => result(name)), ...asked(blocks.map(textOf).join(''))]
}

/** A message's content: a text, or a list of texts, images and the like. */
function blocksOf(content: unknown): Fields[] {
  if (typeof content === 'string') return [{ text: content }]
  const blocks = list(content).slice(0, MOST_BLOCKS)
  return objects(blocks.map((block) => (typeof block === 'string' ? { text: block } : block)))
}

function textOf(block: Fields): string {
  if (typeof block.text !== 'string') return mediaOf(block)
  return isReminder(block.text) ? '' : short(block.text)
}

/** Clients put notes of their own beside a message (the date, the open files), and drop or move them in later requests. */
function isReminder(told: string): boolean {
  return /^\s*<system-reminder>/.test(told) && told.trimEnd().endsWith('</system-reminder>')
}

/** A text without whitespace, and of a long one only both ends: `trim` and `slice` copy nothing. */
function short(told: string): string {
  const kept = told.trim()
  const ends =
    kept.length <= LONGEST_TEXT ? kept : kept.slice(0, LONGEST_TEXT / 2) + kept.slice(-LONGEST_TEXT / 2)
  return ends.replace(/\s+/g, '')
}

/** Where the APIs keep an image, a sound or a file. */
function mediaOf(block: Fields): string {
  const inner = [
    block.image_url,
    block.source,
    block.inlineData ?? block.inline_data,
    block.fileData ?? block.file_data,
    block.input_audio,
    block.file,
  ]
  const holders = objects([block, ...inner])
  const found = [
    ...inner,
    ...holders.flatMap((it) => [it.url, it.data, it.fileUri ?? it.file_uri, it.file_id, it.file_data]),
  ].find((value) => typeof value === 'string')
  if (typeof found !== 'string') return ''
  // A signed address is another one in each request.
  const plain = found.startsWith('http') ? found.slice(0, 2_048).split('?', 1)[0]! : found
  return `media ${found.startsWith('http') ? '' : plain.length} ${short(plain)}`
}

/** What the model said: the beginning, without the thoughts that some models write in front and clients drop. */
function modelText(texts: readonly unknown[]): string {
  const told = texts.filter((it) => typeof it === 'string').join('')
  return told
    .trimStart()
    .replace(/^<think>[^]*?<\/think>/, '')
    .slice(0, 2 * LONGEST_SAID)
    .replace(/\s+/g, '')
    .slice(0, LONGEST_SAID)
}

function callWithoutId(name: unknown, input: unknown): string {
  return `call ${text(name)} ${leavesOf(input, 8).join(' ')}`
}

/** The first values in what a tool is called with; a file to be written has megabytes. */
function leavesOf(value: unknown, most: number): string[] {
  if (typeof value === 'string') return [value.slice(0, 64).replace(/\s+/g, '')]
  if (typeof value !== 'object' || value === null) return [String(value)]
  const leaves: string[] = []
  for (const inner of Object.values(value)) {
    if (leaves.length >= most) break
    leaves.push(...leavesOf(inner, most - leaves.length))
  }
  return leaves
}

/** What an answer or a part of it says. */
interface Piece {
  /** A part of a text. */
  readonly text?: string | undefined
  /** Calls that stand behind the text. */
  readonly calls?: readonly HistoryPart[]
  /** Whole items of a Responses answer, in order. */
  readonly items?: readonly HistoryPart[]
  /** Ids of these items. */
  readonly ids?: readonly string[]
  /** The id of the answer itself. */
  readonly response?: string | undefined
}

/** The first thing that an answer says, in the forms in which a later request may repeat it. */
export function openingOf(payload: unknown, events: Iterable<unknown>, whole: boolean): Opening {
  const last = pieceOf(payload)
  const pieces = last.items?.length ? [last] : firstPieces(events)
  if (pieces.length === 0) pieces.push(last)
  const [item] = pieces.flatMap(({ items = [] }) => items)
  const [firstCall] = pieces.flatMap(({ calls = [] }) => calls)
  const begun = modelText(pieces.map((piece) => piece.text))
  // With a call behind it, or at the end, a short text is whole.
  const isKnown = begun.length === LONGEST_SAID || whole || firstCall !== undefined
  const told = begun !== '' && isKnown && !begun.startsWith('<think>') ? begun : firstCall?.text
  // Some clients repeat what was said by its id alone. Not every client repeats reasoning.
  const id = pieces.flatMap(({ ids = [] }) => ids).find((one) => !one.startsWith('rs_'))
  return {
    names: last.response === undefined ? [] : [last.response],
    texts: [item?.text ?? told, id && `ref ${id}`].flatMap((one) => one ?? []),
  }
}

/** The pieces of a stream up to the first item or call, or until there is text enough. */
function firstPieces(events: Iterable<unknown>): Piece[] {
  const pieces: Piece[] = []
  let text = ''
  for (const event of events) {
    const piece = pieceOf(event)
    pieces.push(piece)
    text += piece.text ?? ''
    if (piece.items?.length || piece.calls?.length || modelText([text]).length === LONGEST_SAID) break
  }
  return pieces
}

function pieceOf(payload: unknown): Piece {
  const body = fields(payload)
  if (!body) return {}
  // Code Assist and the last event of a Responses stream wrap the answer.
  const answer = fields(body.response) ?? body
  const [candidate] = objects(answer.candidates)
  if (candidate) return pieceOfGemini(fields(candidate.content) ?? {})
  const [choice] = objects(answer.choices)
  if (choice) return pieceOfChat(fields(choice.delta), fields(choice.message))
  if (Array.isArray(answer.output)) return { ...pieceOfItems(answer.output), response: text(answer.id) }
  if (answer.role === 'assistant') return pieceOfMessage(answer)
  return pieceOfEvent(body)
}

function pieceOfGemini(content: Fields): Piece {
  const parts = blocksOf(content.parts).filter(({ thought }) => thought !== true)
  const calls = parts.filter((part) => part.text === undefined)
  return {
    text: parts.map((part) => text(part.text) ?? '').join(''),
    calls: partsOfContent({ role: 'model', parts: calls }),
  }
}

function pieceOfChat(delta: Fields | undefined, message: Fields | undefined): Piece {
  if (message) return pieceOfMessage({ ...message, role: 'assistant' })
  return {
    text: text(delta?.content),
    calls: objects(delta?.tool_calls).flatMap(({ id }) => call(id)),
  }
}

/** A whole message: its text comes first, as in a request. */
function pieceOfMessage(message: Fields): Piece {
  return { calls: partsOfMessage(message) }
}

function pieceOfItems(items: readonly unknown[]): Piece {
  const known = objects(items)
  return {
    items: known.flatMap(partsOfItem).filter(({ byModel }) => byModel),
    ids: known.flatMap(({ id }) => text(id) ?? []),
  }
}

/** An event of a Responses stream, or one of Anthropic's. */
function pieceOfEvent(event: Fields): Piece {
  switch (event.type) {
    case 'response.output_text.delta':
      return { text: text(event.delta) }
    case 'response.output_item.done':
      return pieceOfItems([event.item])
    case 'content_block_start':
      return pieceOfMessage({ role: 'assistant', content: [event.content_block] })
    case 'content_block_delta':
      return { text: text(fields(event.delta)?.text) }
    default:
      return {}
  }
}
