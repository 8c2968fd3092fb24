import jsonc from 'jsonc-parser'
import { at, type Path } from './marked-lines.js'
import { refused } from './personal-file.js'

/** Reads one setting of a JSON file as Gemini CLI does: with comments, but no comma behind the last entry. */
export function jsonValue(file: string, text: string, path: Path): unknown {
  const errors: jsonc.ParseError[] = []
  const values: unknown = jsonc.parse(text, errors, { allowTrailingComma: false })
  if (errors.length === 0 && typeof values === 'object' && !Array.isArray(values)) return at(values, path)
  const line = text.slice(0, errors[0]?.offset ?? 0).split('\n').length
  throw refused(file, `is not a JSON object (line ${line})`)
}

/** Sets one value, or takes it out (`undefined`). Every other byte stays. */
export function withJsonValue(file: string, text: string, path: Path, value: unknown): string {
  const changed = modified(text, path, value)
  // Of a key that stands there twice the first is found, and the last counts.
  if (changed !== undefined && jsonValue(file, changed, path) === value) return changed
  throw refused(file, `cannot take ${path.join('.')}: a key of it is there twice, or holds something else`)
}

function modified(text: string, path: Path, value: unknown): string | undefined {
  try {
    // As the first entry: behind the last one, comments may follow.
    const edits = jsonc.modify(text, [...path], value, { getInsertionIndex: () => 0 })
    return edits.reduce((done, { offset, length, content }) => {
      const blanks = length === 0 ? /^\s*/.exec(done.slice(offset))![0] : ''
      return done.slice(0, offset) + blanks + content + done.slice(offset + length)
    }, text)
  } catch {
    // A value stands where a table is expected.
    return undefined
  }
}
