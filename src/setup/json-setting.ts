import type { Problem } from './grammar.js'
import { commaFrom, findJson, type JsonPlace, type JsonReading, readJson } from './json.js'
import { type Edit, edited, lineEnd } from './text-edit.js'
import { at, type Path, sameBeside } from './values.js'

/**
 * Sets one value in JSON with comments, or takes it out (`undefined`). The rest stays byte for byte: jsonc-parser's own
 * `modify` lays the neighbours out anew, and loses the comments between them.
 */
export function setJson(text: string, path: Path, value: unknown): { text: string } | Problem {
  const before = readJson(text)
  if ('problem' in before) return before
  const place = findJson(before, path)
  const done = edited(text, value === undefined ? removal(text, place) : setting(text, before, path, value))
  const after = readJson(done)
  // A key that stands there twice: the first is found, the last one counts.
  if (
    'problem' in after ||
    at(after.values, path) !== value ||
    !sameBeside(before.values, after.values, [path])
  )
    return { problem: `cannot take ${path.join('.')}: a key of it is there twice, or holds something else` }
  return { text: done }
}

function setting(text: string, json: JsonReading, path: Path, value: unknown): Edit[] {
  const present = findJson(json, path)
  if (present) return [{ ...present.value, text: JSON.stringify(value) }]
  const depth = path.findLastIndex((_, i) => findJson(json, path.slice(0, i))?.entries)
  const table = findJson(json, path.slice(0, depth))
  const [name = '', ...inner] = path.slice(depth)
  const content = inner.reduceRight<unknown>((held, key) => ({ [key]: held }), value)
  return table ? [insertion(text, table, JSON.stringify(name), content)] : []
}

/** As the first entry: behind the last one it would have to find its way around the comments there. */
function insertion(
  text: string,
  { value: table, entries = [] }: JsonPlace,
  name: string,
  content: unknown,
): Edit {
  const start = table.start + 1
  const put = (written: string): Edit => ({ start, end: start, text: written })
  const comma = entries.length > 0 ? ',' : ''
  const inside = text.slice(start, table.end - 1)
  const first = /^[ \t]*\r?\n([ \t]*)(?=\S)/.exec(inside)?.[1]
  if (first === undefined && inside.trim() !== '') return put(` ${name}: ${JSON.stringify(content)}${comma}`)
  const outer = /^[ \t]*/.exec(text.slice(text.lastIndexOf('\n', table.start) + 1))![0]
  const indent = first ?? `${outer}  `
  const eol = lineEnd(text)
  const block = JSON.stringify(content, null, indent.slice(outer.length) || '  ').replaceAll(
    '\n',
    eol + indent,
  )
  const close = inside.includes('\n') ? '' : eol + outer
  return put(`${eol}${indent}${name}: ${block}${comma}${first === undefined ? close : ''}`)
}

function removal(text: string, place: JsonPlace | undefined): Edit[] {
  if (!place) return []
  const { property, siblings } = place
  const start = text.slice(0, property.start).trimEnd().length
  const index = siblings.findIndex((one) => one.start === property.start)
  const previous = siblings[index - 1]
  if (index < siblings.length - 1) return [{ start, end: commaFrom(text, property.end).end, text: '' }]
  const comma = previous ? [{ ...commaFrom(text, previous.end), text: '' }] : []
  const whole = { start: Math.max(start, comma[0]?.end ?? 0), end: property.end, text: '' }
  return [...comma, whole]
}
