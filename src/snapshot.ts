import type { ResolvedConfig } from '../config/config.js'
import type { Provider } from '../config/provider.js'
import type { Strategy } from '../config/strategy.js'
import type { Snapshot } from '../middleware/exchange.js'
import { createProvider } from '../providers/index.js'

/** Everything that comes with a config and goes with it. What must outlive a reload is kept elsewhere. */
export interface Settings extends Snapshot {
  readonly config: ResolvedConfig
  readonly providers: ReadonlyMap<string, Provider>
}

/** Looks up every name in the config. The config is valid, so every name is there. */
export function settingsOf(config: ResolvedConfig, builtins: Readonly<Record<string, Strategy>>): Settings {
  const providers = new Map(
    Object.entries(config.providers).map(([name, entry]) => [name, createProvider(name, entry)]),
  )
  const strategies = { ...builtins, ...config.strategies }
  const routes = config.routes.map(({ path, provider, strategy, sticky, retry, websocket }) => ({
    path,
    providerName: provider,
    provider: providers.get(provider)!,
    proxy: config.providers[provider]!.proxy,
    strategy: { name: strategy, pick: strategies[strategy]! },
    sticky,
    retry: config.retry[retry]!,
    websocket,
  }))
  const { use, maxReplayBytes, maxBodyBytes } = config
  return { config, providers, routes, use, maxReplayBytes, maxBodyBytes }
}
