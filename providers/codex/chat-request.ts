import { type Fields, fields, list, objects, text } from '../json.js'

/** A part of a chat request that the Responses API has no counterpart for. */
export class Untranslatable extends Error {
  constructor(
    /** Where it stands: `messages[2].content[0]`. */
    readonly param: string,
    message: string,
  ) {
    super(message)
    this.name = 'Untranslatable'
  }
}

/** Parameters that only hint at how to answer, or that the answer's translation reads; the Responses API has none of them. */
const DROPPED: ReadonlySet<string> = new Set(['seed', 'prediction', 'stream_options'])

/** Parameters without a counterpart, with the values that ask for nothing. */
const WITHOUT_COUNTERPART: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  stop: (value) => Array.isArray(value) && value.length === 0,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  logit_bias: (value) => Object.keys(fields(value) ?? {}).length === 0,
  audio: () => false,
  modalities: (value) => list(value).every((one) => one === 'text'),
  web_search_options: () => false,
  functions: () => false,
  function_call: () => false,
}

const INSTEAD: Readonly<Record<string, string>> = {
  functions: ' Use "tools".',
  function_call: ' Use "tool_choice".',
  web_search_options: ' Use the tool {"type":"web_search"}.',
}

/**
 * A chat completions request as a Responses request. A parameter that neither list above knows goes along as it is: the
 * upstream names it if it does not take it.
 * @throws Untranslatable
 */
export function toResponses(chat: Fields): Fields {
  for (const [param, asksNothing] of Object.entries(WITHOUT_COUNTERPART)) {
    const value = chat[param]
    if (value === undefined || value === null || asksNothing(value)) continue
    const way = INSTEAD[param] ?? ''
    throw new Untranslatable(param, `"${param}" cannot be used on a ChatGPT account.${way}`)
  }
  const known = new Set([...DROPPED, ...Object.keys(WITHOUT_COUNTERPART)])
  const { messages, tools, tool_choice, response_format, reasoning_effort, verbosity, ...rest } = chat
  const format = formatOf(response_format)
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([name]) => !known.has(name))),
    input: inputOf(messages),
    ...(list(tools).length > 0 && { tools: list(tools).map(toolOf) }),
    ...(tool_choice != null && { tool_choice: choiceOf(tool_choice) }),
    ...((format ?? verbosity) != null && {
      text: { ...(format && { format }), ...(verbosity != null && { verbosity }) },
    }),
    ...(reasoning_effort != null && { reasoning: { effort: reasoning_effort } }),
  }
}

function inputOf(messages: unknown): Fields[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw new Untranslatable('messages', '"messages" must be a list with at least one message.')
  const custom = new Set<unknown>()
  return messages.flatMap((given, index) => {
    const at = `messages[${index}]`
    const message = fields(given)
    if (!message) throw new Untranslatable(at, `"${at}" must be an object.`)
    switch (message.role) {
      case 'system':
      case 'developer':
      case 'user':
        return [spoken(message, at)]
      case 'assistant':
        return answered(message, at, custom)
      case 'tool':
        return [toolOutput(message, at, custom)]
    }
    const said = message.role === 'function' ? 'is not known here. Use "tool"' : 'is not a role of a message'
    throw new Untranslatable(`${at}.role`, `"${at}.role" ${said}.`)
  })
}

function spoken({ role, name, content }: Fields, at: string): Fields {
  const parts = partsOf(content, at)
  // The Responses API has no names, but a talk of several people needs them.
  const named = text(name)
  const speaker = named === undefined ? [] : [{ type: 'input_text', text: `${named}:` }]
  return { type: 'message', role, content: [...speaker, ...parts] }
}

function partsOf(content: unknown, at: string): Fields[] {
  if (typeof content === 'string') return [{ type: 'input_text', text: content }]
  if (!Array.isArray(content))
    throw new Untranslatable(`${at}.content`, `"${at}.content" must be a text or a list of parts.`)
  return content.map((part, index) => partOf(fields(part) ?? {}, `${at}.content[${index}]`))
}

function partOf(part: Fields, at: string): Fields {
  if (part.type === 'text') return { type: 'input_text', text: part.text }
  if (part.type === 'image_url') {
    const { url, detail } = fields(part.image_url) ?? { url: part.image_url }
    return { type: 'input_image', image_url: url, detail: detail ?? 'auto' }
  }
  if (part.type === 'file') {
    const { file_id, file_data, filename } = fields(part.file) ?? {}
    if (file_id !== undefined)
      throw new Untranslatable(`${at}.file.file_id`, 'A ChatGPT account has no files. Send "file_data".')
    return { type: 'input_file', file_data, ...(filename != null && { filename }) }
  }
  throw new Untranslatable(
    at,
    `A part of the type ${JSON.stringify(part.type)} cannot be sent to a ChatGPT account.`,
  )
}

/** An answer of the model, and the calls that it made. */
function answered(
  { content, refusal, tool_calls, function_call, audio }: Fields,
  at: string,
  custom: Set<unknown>,
) {
  if (audio != null) throw new Untranslatable(`${at}.audio`, 'A ChatGPT account knows no audio.')
  if (function_call != null)
    throw new Untranslatable(`${at}.function_call`, '"function_call" is not known here. Use "tool_calls".')
  const said = typeof content === 'string' ? [{ type: 'text', text: content }] : objects(content)
  const parts = [...said, { type: 'refusal', refusal }].flatMap((part: Fields): Fields[] => {
    if (text(part.refusal)) return [{ type: 'refusal', refusal: part.refusal }]
    return text(part.text) ? [{ type: 'output_text', text: part.text, annotations: [] }] : []
  })
  const message = { type: 'message', role: 'assistant', content: parts }
  return [...(parts.length > 0 ? [message] : []), ...objects(tool_calls).map((call) => callOf(call, custom))]
}

function callOf(call: Fields, custom: Set<unknown>): Fields {
  const call_id = call.id
  if (call.type === 'custom') {
    custom.add(call_id)
    const { name, input } = fields(call.custom) ?? {}
    return { type: 'custom_tool_call', call_id, name, input }
  }
  const { name, arguments: given } = fields(call.function) ?? {}
  return { type: 'function_call', call_id, name, arguments: text(given) ?? '{}' }
}

function toolOutput({ tool_call_id, content }: Fields, at: string, custom: ReadonlySet<unknown>): Fields {
  const type = custom.has(tool_call_id) ? 'custom_tool_call_output' : 'function_call_output'
  return { type, call_id: tool_call_id, output: typeof content === 'string' ? content : partsOf(content, at) }
}

function toolOf(given: unknown): unknown {
  const tool = fields(given)
  const custom = fields(tool?.custom)
  if (tool?.type === 'custom' && custom) {
    const format = fields(custom.format)
    const flat = { ...fields(format?.grammar), type: format?.type }
    return { type: 'custom', ...custom, ...(format && { format: flat }) }
  }
  const named = fields(tool?.function)
  if (tool?.type !== 'function' || !named) return given
  // Without `strict`, a schema counts as strict in the Responses API, and as loose in chat completions.
  const { parameters, strict, ...rest } = named
  return {
    type: 'function',
    ...rest,
    parameters: parameters ?? { type: 'object', properties: {} },
    strict: strict ?? false,
  }
}

function choiceOf(given: unknown): unknown {
  const choice = fields(given)
  const allowed = fields(choice?.allowed_tools)
  if (allowed) return { type: 'allowed_tools', mode: allowed.mode, tools: list(allowed.tools).map(choiceOf) }
  const name = fields(choice?.function)?.name ?? fields(choice?.custom)?.name
  return name === undefined ? given : { type: choice?.type, name }
}

function formatOf(given: unknown): Fields | undefined {
  const format = fields(given)
  if (format?.type !== 'json_schema') return format
  return { type: 'json_schema', strict: false, ...withoutNulls(fields(format.json_schema) ?? {}) }
}

const withoutNulls = (given: Fields): Fields =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
