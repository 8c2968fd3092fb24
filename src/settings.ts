import type { ResolvedConfig } from '../config/config.js'
import { ConfigError } from '../config/index.js'
import type { Provider } from '../config/provider.js'
import type { Strategy } from '../config/strategy.js'
import type { Snapshot } from '../middleware/exchange.js'
import { createProvider } from '../providers/index.js'
import { readConfig, type ConfigSource } from './config-source.js'
import { builtinStrategies } from './strategies/index.js'
import { tolerant } from './tolerant-provider.js'

/** Everything that comes with a config and goes with it. What must outlive a reload is kept elsewhere. */
export interface Settings extends Snapshot {
  readonly config: ResolvedConfig
  readonly providers: ReadonlyMap<string, Provider>
}

/** The settings in force. */
export class CurrentSettings {
  /** Why the last reload kept the running configuration. */
  problem: string | undefined
  /** Told what goes wrong in a provider's functions where no request can be told. */
  onProviderError: (message: string) => void = () => {}
  // Not made anew at a reload: round-robin remembers whose turn it is.
  readonly #builtins = builtinStrategies()
  #current: Settings

  private constructor(
    private readonly source: ConfigSource,
    config: ResolvedConfig,
  ) {
    this.#current = this.#settingsOf(config)
  }

  /** @throws {ConfigError} with every problem at once */
  static async open(source: ConfigSource): Promise<CurrentSettings> {
    return new CurrentSettings(source, await readConfig(source))
  }

  get current(): Settings {
    return this.#current
  }

  get config(): ResolvedConfig {
    return this.#current.config
  }

  #settingsOf(config: ResolvedConfig): Settings {
    return settingsOf(config, this.#builtins, (message) => this.onProviderError(message))
  }

  /** Reads the configuration again. A bad one is a `problem`, and the running one stays. */
  async reload(): Promise<void> {
    try {
      // Neither can be changed while it is in use.
      const { listen, database } = this.config
      this.#current = this.#settingsOf({ ...(await readConfig(this.source)), listen, database })
      this.problem = undefined
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.problem = `the configuration was not reloaded: ${error.message}`
    }
  }
}

/** Looks up every name in a config. It is valid, so every name is there. */
export function settingsOf(
  config: ResolvedConfig,
  builtins: Readonly<Record<string, Strategy>>,
  onProviderError: (message: string) => void = () => {},
): Settings {
  const providers = new Map(
    Object.entries(config.providers).map(([name, entry]) => [
      name,
      tolerant(name, createProvider(name, entry), onProviderError),
    ]),
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
