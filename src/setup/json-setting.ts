import jsonc from 'jsonc-parser'
import type { Problem } from './grammar.js'
import { at, type Path, sameBeside } from './values.js'

/** Sets one value in JSON with comments, or takes it out (`undefined`); the rest stays byte for byte. */
export function setJson(text: string, path: Path, value: unknown): { text: string } | Problem {
  const before = readJson(text)
  if ('problem' in before) return before
  const eol = text.includes('\r\n') ? '\r\n' : '\n'
  const insertSpaces = !/^\t/m.test(text)
  const tabSize = /^( +)\S/m.exec(text)?.[1]?.length ?? 2
  const edits = jsonc.modify(text, [...path], value, { formattingOptions: { eol, insertSpaces, tabSize } })
  const done = jsonc.applyEdits(text, edits)
  const after = readJson(done)
  // A key that stands there twice: the first is changed, the last one counts.
  if (
    'problem' in after ||
    at(after.values, path) !== value ||
    !sameBeside(before.values, after.values, [path])
  )
    return { problem: `cannot take ${path.join('.')}: is one of its keys there twice?` }
  return { text: done }
}

/** As Gemini CLI reads it: comments, but no comma behind the last entry. */
export function readJson(text: string): { readonly values: unknown } | Problem {
  const errors: jsonc.ParseError[] = []
  const values: unknown = jsonc.parse(text, errors, { allowTrailingComma: false })
  if (errors.length === 0 && typeof values === 'object' && values !== null && !Array.isArray(values))
    return { values }
  const offset = errors[0]?.offset ?? 0
  return { problem: `is not a JSON object (line ${text.slice(0, offset).split('\n').length})` }
}
