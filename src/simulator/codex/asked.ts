import { field, list, text } from '../json.js'
import type { Asked } from '../upstream.js'

/** Reads a Responses request as a script wants it. */
export function askedOf(body: unknown, account: string): Asked {
  const input = inputOf(body)
  const lastUser = input.findLastIndex((item) => text(item, 'role') === 'user')
  return {
    model: text(body, 'model'),
    account,
    prompt: contentText(input[lastUser]),
    toolOutputs: input
      .slice(lastUser + 1)
      .filter((item) => text(item, 'type')?.endsWith('_call_output'))
      .map(outputText),
    schema: field(body, 'text', 'format', 'schema'),
  }
}

/** `input` may be a plain string on the OpenAI API. */
function inputOf(body: unknown): unknown[] {
  const plain = text(body, 'input')
  return plain === undefined ? list(body, 'input') : [{ role: 'user', content: plain }]
}

function contentText(item: unknown): string {
  return (
    text(item, 'content') ??
    list(item, 'content')
      .map((part) => text(part, 'text') ?? '')
      .join('')
  )
}

/** A tool's output is a text, a list of parts, or an object. */
function outputText(item: unknown): string {
  const plain = text(item, 'output')
  if (plain !== undefined) return plain
  const parts = list(item, 'output')
  if (parts.length > 0) return parts.map((part) => text(part, 'text') ?? '').join('')
  return JSON.stringify(field(item, 'output') ?? '')
}
