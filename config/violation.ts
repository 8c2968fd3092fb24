import { keyOf } from './key.js'
import type { Problem } from './problems.js'
import type { Fault } from './problems.js'
import { showValue } from './secrets.js'
import { listChoices } from './suggest.js'

/** What ajv finds, as far as it is read here. */
export interface Violation {
  readonly keyword: string
  /** A JSON pointer: `/routes/0/strategy`. */
  readonly instancePath: string
  readonly params: Record<string, any>
  readonly data?: unknown
  readonly parentSchema?: Record<string, any> | undefined
}

/** Says it in our words; `undefined` for one that only repeats another. */
export function toProblem(violation: Violation, file: string): Problem | undefined {
  const { keyword, params, data } = violation
  const path = pathOf(violation.instancePath)
  const key = keyOf(path)
  switch (keyword) {
    // It only says that its `else` failed, which has said why.
    case 'if':
      return undefined
    case 'additionalProperties':
      return { file, key: keyOf([...path, params['additionalProperty']]), ...unknownKey(violation) }
    case 'required':
      return {
        file,
        key: keyOf([...path, params['missingProperty']]),
        message: 'is required',
        code: 'missing_key',
      }
    case 'discriminator':
      // Without a tag it is missing, and `required` has said so.
      if (params['tagValue'] === undefined) return undefined
      return { file, key: keyOf([...path, 'type']), ...unknownType(violation) }
    default:
      return { file, key, value: showValue(key, data), ...faultOf(violation) }
  }
}

type Description = Fault & Pick<Problem, 'value' | 'choices'>

function unknownKey({ params, parentSchema }: Violation): Description {
  const choices = Object.keys(parentSchema?.['properties'] ?? {})
  const message = `is not an option. Options: ${listChoices(params['additionalProperty'], choices)}`
  return { message, code: 'unknown_key', choices }
}

function unknownType({ params, parentSchema }: Violation): Description {
  const value = params['tagValue']
  const entries: { properties: { type: { const: string } } }[] = parentSchema?.['oneOf'] ?? []
  const choices = entries.map(({ properties }) => properties.type.const)
  return {
    value: showValue('type', value),
    message: `is not a type of provider. Types: ${listChoices(String(value), choices)}`,
    code: 'unknown_provider_type',
    choices,
  }
}

function faultOf({ keyword, params, data, parentSchema }: Violation): Description {
  switch (keyword) {
    case 'rule':
      return { message: params['message'], code: params['code'] }
    case 'minimum':
      return { message: `is too small: at least ${params['limit']}`, code: 'out_of_range' }
    case 'maximum':
      return { message: `is too large: at most ${params['limit']}`, code: 'out_of_range' }
    case 'minProperties':
      return { message: 'is empty: name at least one', code: 'bad_value' }
    case 'enum': {
      const choices: string[] = params['allowedValues']
      const message = `is not allowed. Allowed: ${listChoices(String(data), choices)}`
      return { message, code: 'bad_value', choices }
    }
    default:
      return { message: `must be ${parentSchema?.['says'] ?? nameOf(params['type'])}`, code: 'wrong_type' }
  }
}

function nameOf(type: string): string {
  const names: Record<string, string> = {
    array: 'a list',
    boolean: 'true or false',
    integer: 'a whole number',
  }
  return names[type] ?? `an ${type}`
}

function pathOf(pointer: string): string[] {
  const segments = pointer.split('/').slice(1)
  return segments.map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))
}
