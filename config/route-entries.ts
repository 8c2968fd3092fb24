import type { ResolvedConfig, ResolvedRoute, RouteEntry, StrategyChoice, UserConfig } from './config.js'
import { builtinRoutes, defaults } from './defaults.js'
import { covers } from './route-path.js'

/** The user's routes, then the built-in ones that these leave something to and whose provider is there. */
export function resolveRoutes(user: UserConfig, providers: ResolvedConfig['providers']): ResolvedRoute[] {
  const own = user.routes ?? []
  const builtin: readonly RouteEntry[] = (user.builtinRoutes ?? defaults.builtinRoutes) ? builtinRoutes : []
  const left = builtin.filter(
    ({ path, provider }) =>
      Object.hasOwn(providers, provider) && !own.some((route) => covers(route.path, path)),
  )
  return [...own, ...left].map(resolveRoute)
}

function resolveRoute({ path, provider, strategy, retry, websocket = true }: RouteEntry): ResolvedRoute {
  return {
    path,
    provider,
    ...resolveStrategy(strategy ?? defaults.strategy),
    retry: retry ?? defaults.retry,
    websocket,
  }
}

function resolveStrategy(choice: StrategyChoice): Pick<ResolvedRoute, 'strategy' | 'sticky'> {
  if (typeof choice !== 'string') return { strategy: choice.sticky, sticky: true }
  return choice === 'sticky'
    ? { strategy: defaults.placement, sticky: true }
    : { strategy: choice, sticky: false }
}
