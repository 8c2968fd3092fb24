import jsonc from 'jsonc-parser'
import type { Problem } from './grammar.js'
import type { Span } from './text-edit.js'
import type { Path } from './values.js'

export interface JsonReading {
  readonly values: unknown
  readonly root: jsonc.Node
}

/** As Gemini CLI reads it: comments, but no comma behind the last entry. */
export function readJson(text: string): JsonReading | Problem {
  const errors: jsonc.ParseError[] = []
  const root = jsonc.parseTree(text, errors, { allowTrailingComma: false })
  if (root?.type === 'object' && errors.length === 0) return { root, values: jsonc.parse(text) as unknown }
  return {
    problem: `is not a JSON object (line ${text.slice(0, errors[0]?.offset ?? 0).split('\n').length})`,
  }
}

export interface JsonPlace {
  readonly value: Span
  /** With its name. */
  readonly property: Span
  /** The properties of the table that it stands in, itself among them. */
  readonly siblings: readonly Span[]
  /** Its own properties; `undefined` if it is no table. */
  readonly entries: readonly Span[] | undefined
}

export function findJson({ root }: JsonReading, path: Path): JsonPlace | undefined {
  const node = jsonc.findNodeAtLocation(root, [...path])
  if (!node) return undefined
  const property = node.parent ?? node
  return {
    value: spanOf(node),
    property: spanOf(property),
    siblings: (property.parent?.children ?? []).map(spanOf),
    entries: node.type === 'object' ? (node.children ?? []).map(spanOf) : undefined,
  }
}

/** The comma between two entries, of which one ends at `from`; a comment may hold another one. */
export function commaFrom(text: string, from: number): Span {
  const scanner = jsonc.createScanner(text, true)
  scanner.setPosition(from)
  scanner.scan()
  return { start: scanner.getTokenOffset(), end: scanner.getTokenOffset() + scanner.getTokenLength() }
}

const spanOf = ({ offset, length }: jsonc.Node): Span => ({ start: offset, end: offset + length })
