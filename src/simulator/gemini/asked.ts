import { field, list, text } from '../json.js'
import type { Asked } from '../upstream.js'

/** Reads a `generateContent` body, without the wrapper of Code Assist, as a script wants it. */
export function askedOf(body: unknown, model: string, account: string): Asked {
  const contents = list(body, 'contents')
  const lastPrompt = contents.findLastIndex(
    (content) => text(content, 'role') !== 'model' && promptOf(content) !== '',
  )
  const later = contents.slice(lastPrompt + 1).flatMap((content) => list(content, 'parts'))
  return {
    model,
    account,
    prompt: promptOf(contents[lastPrompt]),
    toolOutputs: later.map((part) => field(part, 'functionResponse', 'response')).flatMap(outputText),
    schema: schemaOf(body),
  }
}

function promptOf(content: unknown): string {
  return list(content, 'parts')
    .map((part) => text(part, 'text') ?? '')
    .join('')
}

/** The Gemini CLI puts what a tool said under `output`. */
function outputText(response: unknown): string[] {
  if (response === undefined) return []
  return [text(response, 'output') ?? JSON.stringify(response)]
}

/** The form in which the answer must come, if the client demands JSON. */
function schemaOf(body: unknown): unknown {
  if (text(body, 'generationConfig', 'responseMimeType') !== 'application/json') return undefined
  return (
    field(body, 'generationConfig', 'responseJsonSchema') ?? field(body, 'generationConfig', 'responseSchema')
  )
}
