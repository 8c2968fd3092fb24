import { field, list, text } from './json.js'

/**
 * The smallest value that fits a JSON schema: what a client gets that demands JSON for its own purposes, such as the
 * choice of a model or a title, where a script's prose would only make it fail.
 */
export function fromSchema(schema: unknown): unknown {
  const [choice] = list(schema, 'enum')
  if (choice !== undefined) return choice
  const type = (text(schema, 'type') ?? text(schema, 'type', 0) ?? 'object').toLowerCase()
  if (type === 'object') return objectFrom(schema)
  return VALUES[type] ?? null
}

const VALUES: Record<string, unknown> = {
  string: 'simulated',
  number: 1,
  integer: 1,
  boolean: false,
  array: [],
}

function objectFrom(schema: unknown): object {
  const properties = Object.entries(field(schema, 'properties') ?? {})
  return Object.fromEntries(properties.map(([name, property]) => [name, fromSchema(property)]))
}
