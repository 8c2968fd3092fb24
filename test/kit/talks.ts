/** Made-up conversations of clients that name none, in the forms of the APIs. */

export interface Asked {
  readonly path: string
  readonly body: Record<string, unknown>
}

/** What was said, in the words of no API. */
type Said =
  | { readonly user: string; readonly image?: string }
  | { readonly model: string }
  | { readonly call: string; readonly file: string }
  | { readonly result: string; readonly output: string }

/** How one kind of client writes a request, and the server its answer. */
interface Form {
  readonly path: string
  readonly streams: boolean
  request(said: readonly Said[], turn: number): Record<string, unknown>
  /** The JSON answer, or the events of a stream. */
  answer(said: readonly Said[]): object | readonly object[]
}

const item = (it: Said): object => {
  if ('user' in it)
    return {
      role: 'user',
      content: [
        { type: 'input_text', text: it.user },
        ...(it.image === undefined ? [] : [{ type: 'input_image', image_url: it.image }]),
      ],
    }
  if ('model' in it) return { role: 'assistant', content: [{ type: 'output_text', text: it.model }] }
  if ('call' in it)
    return { type: 'function_call', call_id: it.call, name: 'read', arguments: `{"file":"${it.file}"}` }
  return { type: 'function_call_output', call_id: it.result, output: it.output }
}

const response = (said: readonly Said[]) => ({
  id: `resp_${Math.abs(hashOf(JSON.stringify(said)))}`,
  object: 'response',
  output: [
    { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' },
    ...said.map((it, i) => ({ id: `item_${i}`, status: 'completed', type: 'message', ...item(it) })),
  ],
  usage: { total_tokens: 9 },
})

const chatMessage = (it: Said): object => {
  if ('user' in it) return { role: 'user', content: it.user }
  if ('model' in it) return { role: 'assistant', content: it.model }
  if ('result' in it) return { role: 'tool', tool_call_id: it.result, content: it.output }
  const call = {
    id: it.call,
    type: 'function',
    function: { name: 'read', arguments: `{"file":"${it.file}"}` },
  }
  return { role: 'assistant', content: null, tool_calls: [call] }
}

const geminiContent = (it: Said): object => {
  if ('user' in it) return { role: 'user', parts: [{ text: it.user }] }
  if ('model' in it) return { role: 'model', parts: [{ text: it.model, thoughtSignature: 'sig' }] }
  if ('call' in it)
    return { role: 'model', parts: [{ functionCall: { name: 'read', args: { file: it.file } } }] }
  const functionResponse = { name: 'read', response: { output: it.output } }
  return { role: 'user', parts: [{ functionResponse }] }
}

const candidates = (said: readonly Said[]) => ({
  candidates: [{ content: { role: 'model', parts: said.flatMap((it) => (geminiContent(it) as any).parts) } }],
  usageMetadata: { totalTokenCount: 9 },
})

const anthropicMessage = (it: Said): object => {
  if ('user' in it) return { role: 'user', content: [{ type: 'text', text: it.user }] }
  if ('model' in it) return { role: 'assistant', content: [{ type: 'text', text: it.model }] }
  if ('call' in it)
    return { role: 'assistant', content: [{ type: 'tool_use', id: it.call, name: 'read', input: {} }] }
  return { role: 'user', content: [{ type: 'tool_result', tool_use_id: it.result, content: it.output }] }
}

const pieces = (text: string): string[] => text.match(/.{1,4}/gs) ?? []
const textIn = (said: readonly Said[]): string => said.map((it) => ('model' in it ? it.model : '')).join('')

const tools = [{ type: 'function', name: 'read', parameters: {} }]
/** A clock, and a mode that the user may change. */
const instructions = (turn: number): string =>
  `Be kind. It is ${12 + turn}:00. ${turn % 2 ? 'Plan only.' : ''}`

/** The eight shapes. Those with tools say `read` to each first message of a person. */
export const forms: Readonly<Record<string, Form>> = {
  'Responses, as a list': {
    path: '/v1/responses',
    streams: true,
    request: (said, turn) => ({ instructions: instructions(turn), input: said.map(item) }),
    answer: (said) => [
      { type: 'response.created', response: { instructions: 'x'.repeat(20_000) } },
      ...pieces(textIn(said)).map((delta) => ({ type: 'response.output_text.delta', delta })),
      { type: 'response.completed', response: { ...response(said), output: [] } },
    ],
  },
  'Responses with tools': {
    path: '/v1/responses',
    streams: false,
    request: (said) => ({ tools, input: said.map(item) }),
    answer: response,
  },
  'Responses with images': {
    path: '/v1/responses',
    streams: false,
    // A first message of text alone is often given as a string.
    request: (said) => ({ input: said.length === 1 ? (said[0] as { user: string }).user : said.map(item) }),
    answer: response,
  },
  chat: {
    path: '/v1/chat/completions',
    streams: true,
    request: (said, turn) => ({
      messages: [{ role: 'system', content: instructions(turn) }, ...said.map(chatMessage)],
    }),
    answer: (said) => [
      { choices: [{ delta: { role: 'assistant', content: '' } }] },
      ...pieces(textIn(said)).map((content) => ({ choices: [{ delta: { content } }] })),
      { choices: [], usage: { total_tokens: 9 } },
    ],
  },
  'chat with tools': {
    path: '/v1/chat/completions',
    streams: false,
    request: (said) => ({ tools, messages: said.map(chatMessage) }),
    answer: (said) => ({ choices: [{ message: chatMessage(said[0]!) }], usage: { total_tokens: 9 } }),
  },
  Gemini: {
    path: '/v1beta/models/gemini-x:generateContent',
    streams: false,
    request: (said) => ({ contents: said.map(geminiContent), tools }),
    answer: candidates,
  },
  'Gemini with a common beginning and a clock': {
    path: '/v1beta/models/gemini-x:streamGenerateContent?alt=sse',
    streams: true,
    request: (said, turn) => ({
      systemInstruction: { parts: [{ text: instructions(turn) }] },
      contents: [{ user: 'This is the Gemini CLI. The folder holds: a.ts, b.ts.' }, ...said].map(
        geminiContent,
      ),
    }),
    answer: (said) => pieces(textIn(said)).map((text) => candidates([{ model: text }])),
  },
  'Anthropic over a bearer': {
    path: '/claude/v1/messages',
    streams: true,
    request: (said, turn) => ({
      system: instructions(turn),
      messages: said.map((it, i) => ({
        ...anthropicMessage(it),
        ...(i === said.length - 1 && { cache_control: { type: 'ephemeral' } }),
      })),
    }),
    answer: (said) => [
      { type: 'message_start', message: { role: 'assistant', content: [] } },
      ...said.map((it) =>
        'call' in it
          ? { type: 'content_block_start', content_block: { type: 'tool_use', id: it.call, name: 'read' } }
          : { type: 'content_block_start', content_block: { type: 'text', text: '' } },
      ),
      ...pieces(textIn(said)).map((text) => ({
        type: 'content_block_delta',
        delta: { type: 'text_delta', text },
      })),
    ],
  },
}

/** A random number from 0 up to 1, the same row for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function hashOf(text: string): number {
  let hash = 0
  for (const character of text) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) | 0
  return hash
}

const WORDS = 'please the parser of this file returns a list when its input ends early so mend it'.split(' ')

/** One conversation. Many of one shape begin with the same words. */
export class Talk {
  /** Account of each turn so far. */
  readonly accounts: string[] = []
  readonly form: Form
  #said: Said[]
  #turn = 0

  constructor(
    readonly shape: string,
    readonly id: number,
    private readonly random: () => number,
  ) {
    this.form = forms[shape]!
    const many = random() < 0.3
    // A third of the conversations of a shape begin with the same words.
    this.#said = [{ user: many ? 'hi' : this.#words(12) }]
  }

  asked(): Asked {
    const { path, request, streams } = this.form
    const body = { model: 'm', ...(streams && { stream: true }), ...request(this.#said, this.#turn) }
    return { path, body }
  }

  /** What the model says: its payloads, one or many. */
  answer(): object | readonly object[] {
    const last = this.#said.at(-1)!
    const calls = /tools|Anthropic/.test(this.shape) && 'user' in last
    const id = `call_${this.id}_${Math.floor(this.random() * 1e12)}`
    // Some answers are said in every conversation; in one that began with "hi", the first tells it apart.
    const told = this.#turn > 0 && this.random() < 0.3 ? 'Done.' : this.#words(3 + 60 * this.random())
    const said: Said = calls ? { call: id, file: `${id}.ts` } : { model: told }
    this.#said.push(said)
    return this.form.answer([said])
  }

  /** The client's next message, or the output of the tool. */
  goOn(): void {
    this.#turn++
    const last = this.#said.at(-1)!
    if ('call' in last) this.#said.push({ result: last.call, output: this.#words(30) })
    else if (/images/.test(this.shape))
      this.#said.push({ user: 'And this one?', image: `data:image/png;base64,${'A'.repeat(5_000)}` })
    else this.#said.push({ user: this.random() < 0.3 ? 'go on' : this.#words(8) })
  }

  #words(count: number): string {
    const some = Array.from({ length: count }, () => WORDS[Math.floor(this.random() * WORDS.length)])
    return some.join(' ')
  }
}

/** So many conversations, the shapes in turn. */
export function makeTalks(count: number, random: () => number): Talk[] {
  const shapes = Object.keys(forms)
  return Array.from({ length: count }, (_, id) => new Talk(shapes[id % shapes.length]!, id, random))
}

/** Of all turns but the first, the share that was served by the account of the turn before. */
export function keptShare(talks: readonly Talk[]): number {
  const moves = talks.flatMap(({ accounts }) => accounts.slice(1).map((one, i) => one === accounts[i]))
  return moves.filter(Boolean).length / moves.length
}

/** The largest number of turns that one account served, as a multiple of an equal share. */
export function largestShare(talks: readonly Talk[], accounts: number): number {
  const counts = new Map<string, number>()
  for (const account of talks.flatMap((talk) => talk.accounts))
    counts.set(account, (counts.get(account) ?? 0) + 1)
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  return (Math.max(...counts.values()) * accounts) / total
}
