import { Ajv, type SchemaValidateFunction } from 'ajv'
import { builtinProviders, builtinStrategies, defaults } from './defaults.js'
import { type Layers, settingOf } from './layers.js'
import type { Fault, Problem, ProblemCode } from './problems.js'
import { covers, isLoopback, parseListen, type RuleName, rules } from './rules.js'
import { configSchema } from './schema.js'
import { hidden, looksSecret, showValue } from './secrets.js'

const applyRule: SchemaValidateFunction = (name: RuleName, value: unknown) => {
  const fault = rules[name](value)
  applyRule.errors = fault ? [{ keyword: 'rule', params: fault }] : []
  return !fault
}

// `verbose` puts the offending value and its schema into each error. The schema is ours: checking it against the schema
// of schemas and optimising code that runs once would take a tenth of a second at every start.
const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  discriminator: true,
  meta: false,
  validateSchema: false,
  code: { optimize: false },
})
ajv.addKeyword({ keyword: 'rule', schemaType: 'string', errors: true, validate: applyRule })
ajv.addKeyword('says')
const matches = ajv.compile(configSchema)

/** Checks shape and single values; names that refer to each other are checked in `references.ts`. */
export function checkShape(config: unknown, file: string): Problem[] {
  matches(config)
  return (matches.errors ?? []).flatMap((violation) => toProblem(violation, file) ?? [])
}

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

type Path = (string | number)[]
type Finding = Omit<Problem, 'file'>
type Names = Record<'provider' | 'strategy' | 'retry', string[]>

/** Checks what refers to something else. Works on a configuration of any shape, so that all problems come at once. */
export function checkReferences(config: Record<string, unknown>, file: string): Problem[] {
  const routes = Array.isArray(config['routes'])
    ? config['routes'].map((route) => (isRecord(route) ? route : {}))
    : []
  const names = declaredNames(config)
  const findings = [
    ...shadows(config, 'strategies'),
    ...shadows(config, 'retry'),
    ...routes.flatMap((route, index) => unknownNames(route, ['routes', index], names)),
    ...unreachable(routes.map(({ path }) => path)),
  ]
  return findings.map((finding) => ({ file, ...finding }))
}

function declaredNames(config: Record<string, unknown>): Names {
  const providers = { ...builtinProviders, ...recordAt(config, 'providers') }
  return {
    provider: Object.keys(providers).filter(
      (name) => providers[name as keyof typeof providers] !== (false as unknown),
    ),
    strategy: unique([...builtinStrategies, ...Object.keys(recordAt(config, 'strategies'))]),
    retry: unique([defaults.retry, ...Object.keys(recordAt(config, 'retry'))]),
  }
}

const unique = (names: string[]): string[] => [...new Set(names)].sort()

function shadows(config: Record<string, unknown>, section: 'strategies' | 'retry'): Finding[] {
  const taken = Object.keys(recordAt(config, section)).filter((name) =>
    builtinStrategies.some((own) => own === name),
  )
  const message = 'is the name of a built-in strategy: choose another'
  return taken.map((name) => ({ key: keyOf([section, name]), message, code: 'shadows_builtin' }))
}

function unknownNames(route: Record<string, unknown>, at: Path, names: Names): Finding[] {
  const { provider, strategy, retry } = route
  const placement = isRecord(strategy) ? strategy['sticky'] : undefined
  const placements = names.strategy.filter((name) => name !== 'sticky')
  return [
    ...undeclared(provider, [...at, 'provider'], names.provider, 'unknown_provider'),
    ...undeclared(strategy, [...at, 'strategy'], names.strategy, 'unknown_strategy'),
    ...undeclared(placement, [...at, 'strategy', 'sticky'], placements, 'unknown_strategy'),
    ...undeclared(retry, [...at, 'retry'], names.retry, 'unknown_retry'),
  ]
}

function undeclared(name: unknown, path: Path, choices: string[], code: ProblemCode): Finding[] {
  if (typeof name !== 'string' || choices.includes(name)) return []
  const key = keyOf(path)
  const message = `is not declared. Declared: ${listChoices(name, choices)}`
  return [{ key, value: showValue(key, name), message, code, choices }]
}

function unreachable(paths: unknown[]): Finding[] {
  return paths.flatMap((path, index) => {
    const earlier = paths
      .slice(0, index)
      .findIndex((prefix) => isPath(prefix) && isPath(path) && covers(prefix, path))
    if (earlier === -1) return []
    const key = keyOf(['routes', index, 'path'])
    const message = `can never match: routes[${earlier}] (${showValue(key, paths[earlier])}) comes first and takes it all`
    return { key, value: showValue(key, path), message, code: 'unreachable_route' }
  })
}

const isPath = (path: unknown): path is string => typeof path === 'string' && path.startsWith('/')

/** Checks values that are fine alone and wrong together. Works on a configuration of any shape. */
export function checkCombinations(layers: Layers): Problem[] {
  return [...openToAll(layers), ...sameKey(layers), ...sizes(layers), ...halfClient(layers)]
}

/** Everybody in the network could spend the pool. */
function openToAll(layers: Layers): Problem[] {
  const { user } = layers
  const { file, key, value } = settingOf('listen', layers)
  const address = typeof value === 'string' ? parseListen(value) : undefined
  const decided =
    user['access'] === 'host-app' || (recordAt(user, 'access')['keys'] ?? undefined) !== undefined
  if (!address || isLoopback(address.host) || decided) return []
  const message =
    "is beyond loopback: give access.keys ({ laptop: '…' }, at least 16 characters each), or access.keys: false " +
    'if the network in front of it is trusted, or listen on 127.0.0.1'
  return [{ file, key, value: showValue(key, value), message, code: 'access_required' }]
}

/** Two people with one key cannot be told apart, nor can one of them be shut out. */
function sameKey({ user, file }: Layers): Problem[] {
  const keys = Object.entries(recordAt(recordAt(user, 'access'), 'keys'))
  return keys.flatMap(([name, value], index) => {
    const first = keys.slice(0, index).find(([, earlier]) => earlier === value)
    if (!first || typeof value !== 'string') return []
    const message = `has the same key as ${keyOf(['access', 'keys', first[0]])}`
    return { file, key: keyOf(['access', 'keys', name]), message, code: 'duplicate_key' as const }
  })
}

function sizes({ user, file }: Layers): Problem[] {
  const kept = user['maxReplayBytes']
  return (['maxReplayTotalBytes', 'maxBodyBytes'] as const).flatMap((limit) => {
    const most = user[limit] ?? defaults[limit]
    if (typeof kept !== 'number' || typeof most !== 'number' || kept <= most) return []
    const message = `is more than ${limit} (${most})`
    return { file, key: 'maxReplayBytes', value: String(kept), message, code: 'out_of_range' as const }
  })
}

/** Google refuses one client's id with another's secret, but only at the first refresh, an hour later. */
function halfClient({ user, overlay, file }: Layers): Problem[] {
  const inEnvironment = overlay.providers.gemini
  const entries: [string, unknown][] = Object.entries({
    gemini: { type: 'gemini' },
    ...recordAt(user, 'providers'),
  })
  return entries.flatMap(([name, entry]) => {
    if (!isRecord(entry) || entry['type'] !== 'gemini') return []
    const id = inEnvironment.oauthClientId ?? entry['oauthClientId']
    const secret = inEnvironment.oauthClientSecret ?? entry['oauthClientSecret']
    if ((id === undefined) === (secret === undefined)) return []
    const [given, missing] = id === undefined ? (['Secret', 'Id'] as const) : (['Id', 'Secret'] as const)
    const message = `needs its oauthClient${missing} (or GEMINI_OAUTH_CLIENT_${missing.toUpperCase()}): both or none`
    const place =
      inEnvironment[`oauthClient${given}`] === undefined
        ? { file, key: keyOf(['providers', name, `oauthClient${given}`]) }
        : { file: 'environment', key: `GEMINI_OAUTH_CLIENT_${given.toUpperCase()}` }
    return { ...place, message, code: 'oauth_pair' as const }
  })
}

/** `routes[0].strategy`, `strategies["my own"]`: where in the configuration something stands. */
export function keyOf(path: readonly (string | number)[]): string {
  return path.map(segment).join('').replace(/^\./, '')
}

function segment(name: string | number): string {
  if (typeof name === 'number' || /^\d+$/.test(name)) return `[${name}]`
  // A key written on the wrong side of the colon.
  if (looksSecret(name)) return `.${hidden}`
  return /^[\w-]+$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}

/** `A, b, c. Did you mean "b"?` */
export function listChoices(written: string, choices: readonly string[]): string {
  const meant = closest(written, choices)
  const list = choices.join(', ') || 'none'
  return meant ? `${list}. Did you mean "${meant}"?` : list
}

/** The choice that a slip of the fingers away from `written`, if there is one. */
function closest(written: string, choices: readonly string[]): string | undefined {
  // One slip per three letters: with more, every short word is "meant" by every other.
  const limit = Math.max(1, Math.floor(written.length / 3))
  const ranked = choices
    .map((choice) => ({ choice, distance: distance(written.toLowerCase(), choice.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best && best.distance <= limit && best.distance < written.length ? best.choice : undefined
}

/** Letters to add, drop or change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [index, letter] of [...a].entries()) {
    const next = [index + 1]
    for (let column = 1; column <= b.length; column++) {
      const changed = (row[column - 1] ?? 0) + (letter === b[column - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** An object with fields, not a list and not `null`. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** For reading a configuration that may be wrong: whatever stands there, fields or none. */
export function recordAt(value: unknown, key: string): Record<string, unknown> {
  const found = isRecord(value) ? value[key] : undefined
  return isRecord(found) ? found : {}
}

/** Without the fields that are `undefined`: spread over defaults they would wipe them out. */
export function defined<T extends object>(fields: T | undefined): Partial<T> {
  const entries = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}
