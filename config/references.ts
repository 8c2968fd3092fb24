import { builtinProviders, builtinStrategies, defaults } from './defaults.js'
import { keyOf } from './key.js'
import type { Problem, ProblemCode } from './problems.js'
import { isRecord, recordAt } from './record.js'
import { covers } from './route-path.js'
import { showValue } from './secrets.js'
import { listChoices } from './suggest.js'

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
