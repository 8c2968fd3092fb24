import { Ajv, type SchemaValidateFunction } from 'ajv'
import type { Problem } from './problems.js'
import { rules, type RuleName } from './rules.js'
import { configSchema } from './schema.js'
import { toProblem } from './violation.js'

const applyRule: SchemaValidateFunction = (name: RuleName, value: unknown) => {
  const fault = rules[name](value)
  applyRule.errors = fault ? [{ keyword: 'rule', params: fault }] : []
  return !fault
}

// `verbose` puts the offending value and its schema into each error.
const ajv = new Ajv({ allErrors: true, verbose: true, discriminator: true })
ajv.addKeyword({ keyword: 'rule', schemaType: 'string', errors: true, validate: applyRule })
ajv.addKeyword('says')
const matches = ajv.compile(configSchema)

/** Checks shape and single values; names that refer to each other are checked in `references.ts`. */
export function checkShape(config: unknown, file: string): Problem[] {
  matches(config)
  return (matches.errors ?? []).flatMap((violation) => toProblem(violation, file) ?? [])
}
