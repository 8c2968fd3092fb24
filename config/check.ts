import { Ajv, type ErrorObject, type SchemaValidateFunction } from 'ajv'
import { builtinStrategies, defaults } from './config.js'
import { isRecord, recordAt } from './foreign.js'
import { type Layers, settingOf } from './layers.js'
import { keyOf, listChoices, type Problem, type ProblemCode, type ValueProblem } from './problems.js'
import { builtinProviders, leavesRoom } from './provider-entry.js'
import { covers, isLoopback, parseListen, type RuleName, rules } from './rules.js'
import { configSchema } from './schema.js'
import { showValue } from './secrets.js'

const applyRule: SchemaValidateFunction = (name: RuleName, value: unknown) => {
  const problem = rules[name](value)
  applyRule.errors = problem ? [{ keyword: 'rule', params: problem }] : []
  return !problem
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

/** Checks shape and single values. Works on a configuration of any shape, as the checks below do: all problems are told. */
export function checkShape(config: unknown, file: string): Problem[] {
  matches(config)
  return (matches.errors ?? []).flatMap((error) => toProblem(error, file) ?? [])
}

/** The problem that an error of ajv stands for; `undefined` for one that only repeats another. */
function toProblem(error: ErrorObject, file: string): Problem | undefined {
  const { keyword, params, data } = error
  const path = pathOf(error.instancePath)
  const key = keyOf(path)
  switch (keyword) {
    // An `if` only says that its `else` failed, which has its own error.
    case 'if':
      return undefined
    case 'additionalProperties':
      // An instance of a class may have fields of its own.
      if (isInstance(data)) return undefined
      return { file, key: keyOf([...path, params['additionalProperty']]), ...unknownKey(error) }
    case 'required':
      return {
        file,
        key: keyOf([...path, params['missingProperty']]),
        message: 'is required',
        code: 'missing_key',
      }
    case 'discriminator':
      // Without a tag there is an error for `required` already.
      if (params['tagValue'] === undefined) return undefined
      return { file, key: keyOf([...path, 'type']), ...unknownType(error) }
    default:
      return { file, key, value: showValue(key, data), ...problemOf(error) }
  }
}

function isInstance(value: unknown): boolean {
  const prototype: unknown = isRecord(value) && Object.getPrototypeOf(value)
  return Boolean(prototype) && prototype !== Object.prototype
}

type Description = ValueProblem & Pick<Problem, 'value'>
/** The part of a schema that an error needs. */
type Parent = Record<string, any> | undefined

function unknownKey({ params, parentSchema }: ErrorObject): Description {
  const choices = Object.keys((parentSchema as Parent)?.['properties'] ?? {})
  const message = `is not an option. Options: ${listChoices(params['additionalProperty'], choices)}`
  return { message, code: 'unknown_key' }
}

function unknownType({ params, parentSchema }: ErrorObject): Description {
  const value = params['tagValue']
  const entries: { properties: { type: { const: string } } }[] = (parentSchema as Parent)?.['oneOf'] ?? []
  const choices = entries.map(({ properties }) => properties.type.const)
  return {
    value: showValue('type', value),
    message: `is not a type of provider. Types: ${listChoices(String(value), choices)}`,
    code: 'unknown_provider_type',
  }
}

function problemOf({ keyword, params, data, parentSchema }: ErrorObject): Description {
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
      const message = `is not allowed. Allowed: ${listChoices(String(data), params['allowedValues'])}`
      return { message, code: 'bad_value' }
    }
    default:
      return {
        message: `must be ${(parentSchema as Parent)?.['says'] ?? typeNames[params['type']] ?? `an ${params['type']}`}`,
        code: 'wrong_type',
      }
  }
}

const typeNames: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  integer: 'a whole number',
}

/** The names in a JSON pointer. */
function pathOf(pointer: string): string[] {
  const segments = pointer.split('/').slice(1)
  return segments.map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))
}

type ProblemAtKey = Omit<Problem, 'file'>
type Names = Record<'provider' | 'strategy' | 'retry', string[]>

/** Checks the names that refer to another part of the configuration. */
export function checkReferences(config: Record<string, unknown>, file: string): Problem[] {
  const routes = Array.isArray(config['routes'])
    ? config['routes'].map((route) => (isRecord(route) ? route : {}))
    : []
  const names = declaredNames(config)
  const problems = [
    ...shadows(config, 'strategies'),
    ...shadows(config, 'retry'),
    ...routes.flatMap((route, index) => unknownNames(route, ['routes', index], names)),
    ...unreachable(routes, { ...builtinProviders, ...recordAt(config, 'providers') }),
  ]
  return problems.map((problem) => ({ file, ...problem }))
}

function declaredNames(config: Record<string, unknown>): Names {
  const providers: Record<string, unknown> = { ...builtinProviders, ...recordAt(config, 'providers') }
  return {
    provider: Object.keys(providers).filter((name) => providers[name] !== false),
    strategy: unique([...builtinStrategies, ...Object.keys(recordAt(config, 'strategies'))]),
    retry: unique([defaults.retry, ...Object.keys(recordAt(config, 'retry'))]),
  }
}

const unique = (names: string[]): string[] => [...new Set(names)].sort()

function shadows(config: Record<string, unknown>, section: 'strategies' | 'retry'): ProblemAtKey[] {
  const taken = Object.keys(recordAt(config, section)).filter((name) =>
    builtinStrategies.some((builtin) => builtin === name),
  )
  const message = 'is the name of a built-in strategy: choose another'
  return taken.map((name) => ({ key: keyOf([section, name]), message, code: 'shadows_builtin' }))
}

type Path = readonly (string | number)[]

function unknownNames(route: Record<string, unknown>, at: Path, names: Names): ProblemAtKey[] {
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

function undeclared(name: unknown, path: Path, choices: string[], code: ProblemCode): ProblemAtKey[] {
  if (typeof name !== 'string' || choices.includes(name)) return []
  const key = keyOf(path)
  const message = `is not declared. Declared: ${listChoices(name, choices)}`
  return [{ key, value: showValue(key, name), message, code }]
}

function unreachable(
  routes: readonly Record<string, unknown>[],
  providers: Record<string, unknown>,
): ProblemAtKey[] {
  return routes.flatMap((route, index) => {
    const path = route['path']
    const earlier = routes.slice(0, index).find((other) => {
      const prefix = other['path']
      return isPath(prefix) && isPath(path) && covers(prefix, path) && !leavesRoom(other, route, providers)
    })
    if (!earlier) return []
    const key = keyOf(['routes', index, 'path'])
    const message = `can never match: routes[${routes.indexOf(earlier)}] (${showValue(key, earlier['path'])}) comes first and takes it all`
    return { key, value: showValue(key, path), message, code: 'unreachable_route' }
  })
}

const isPath = (path: unknown): path is string => typeof path === 'string' && path.startsWith('/')

/** Checks values that are fine alone and wrong together. */
export function checkCombinations(layers: Layers): Problem[] {
  return [...openToAll(layers), ...sameKey(layers), ...sizes(layers), ...halfClient(layers)]
}

/** Without a key the whole network could use the pool. */
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

/** Refuses equal access keys: one person's key could not be withdrawn without the other's. */
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
  const fromEnvironment = overlay.providers.gemini
  const entries: Record<string, unknown> = { gemini: { type: 'gemini' }, ...recordAt(user, 'providers') }
  return Object.entries(entries).flatMap(([name, entry]) => {
    if (!isRecord(entry) || entry['type'] !== 'gemini') return []
    const id = fromEnvironment.oauthClientId ?? entry['oauthClientId']
    const secret = fromEnvironment.oauthClientSecret ?? entry['oauthClientSecret']
    if ((id === undefined) === (secret === undefined)) return []
    const [given, missing] = id === undefined ? (['Secret', 'Id'] as const) : (['Id', 'Secret'] as const)
    const message = `needs its oauthClient${missing} (or GEMINI_OAUTH_CLIENT_${missing.toUpperCase()}): both or none`
    const place =
      fromEnvironment[`oauthClient${given}`] === undefined
        ? { file, key: keyOf(['providers', name, `oauthClient${given}`]) }
        : { file: 'environment', key: `GEMINI_OAUTH_CLIENT_${given.toUpperCase()}` }
    return { ...place, message, code: 'oauth_pair' as const }
  })
}
