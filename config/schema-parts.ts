import type { RuleName } from './rules.js'

/** The part of JSON Schema that is used here, and `rule`: a check of ours by its name in `rules.ts`. */
export interface Schema {
  readonly [keyword: string]: unknown
}

export const rule = (name: RuleName): Schema => ({ rule: name })
export const callable = rule('callable')
export const boolean = { type: 'boolean' }
export const oneOf = (...values: string[]): Schema => ({ enum: values })
export const integer = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): Schema => ({
  type: 'integer',
  minimum,
  maximum,
})
// setTimeout runs at once when it is given more than this.
export const ms = (minimum = 0): Schema => integer(minimum, 2_147_483_647)
export const list = (items: Schema): Schema => ({ type: 'array', items })
export const named = (values: Schema): Schema => ({ type: 'object', additionalProperties: values })

/** Every field of `T` has to be here: one that is forgotten would be refused as unknown. */
export function object<T>(properties: Record<keyof T, Schema>, required: (keyof T)[] = []): Schema {
  return { type: 'object', properties, required, additionalProperties: false }
}

/** `value`, or else what `schema` describes; `says` is what the error calls the two. */
export function valueOr(value: unknown, schema: Schema, says: string): Schema {
  return { if: { const: value }, else: { ...schema, says } }
}
