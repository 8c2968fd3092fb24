import type { ResolvedConfig, UserConfig } from '../config/config.js'
import {
  ConfigError,
  CredentialRejected,
  defineConfig,
  type Environment,
  type Flags,
  loadConfig,
  proxyOf,
  remember,
  resolveConfig,
} from '../config/index.js'
import type { Strategy } from '../config/account.js'
import type { Snapshot } from '../middleware/exchange.js'
import { headerFilter } from '../middleware/headers.js'
import { conversationOf } from '../providers/conversation.js'
import { createProvider } from '../providers/index.js'
import { tolerant } from '../providers/tolerant.js'
import { builtinStrategies } from './accounts/strategies.js'
import type { PoolSettings } from './pool/pool.js'

/** Everything that is made from a config and replaced at a reload. State that outlives a reload is kept elsewhere. */
export interface Settings extends Snapshot, PoolSettings {}

/** The settings in force. */
export class CurrentSettings {
  /** Why the last reload kept the running configuration. */
  problem: string | undefined
  /** Gets the errors of a provider's functions that no request shows. */
  onProviderError: (message: string) => void = () => {}
  // Not made anew at a reload: round-robin remembers whose turn it is.
  readonly #builtins = builtinStrategies()
  #current: Settings

  private constructor(
    private readonly source: ConfigSource,
    config: ResolvedConfig,
  ) {
    this.#current = this.#settingsOf(config)
    this.#rememberKeys()
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

  #rememberKeys(): void {
    const { access, providers } = this.config
    const clients = Object.values(providers).map((entry) => ('oauthClientSecret' in entry ? entry : {}))
    remember(this, [access === 'host-app' ? {} : { keys: access.keys }, clients])
  }

  /** Reads the configuration again. A bad one is a `problem`, and the running one stays. */
  async reload(): Promise<void> {
    try {
      // Neither can be changed while it is in use.
      const { listen, database } = this.config
      this.#current = this.#settingsOf({ ...(await readConfig(this.source)), listen, database })
      this.#rememberKeys()
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
    proxyOf: (account: string) => proxyOf(config.providers[provider], account),
    strategy: { name: strategy, pick: strategies[strategy]! },
    sticky,
    retry: config.retry[retry]!,
    websocket,
    passes: headerFilter(providers.get(provider)!.passHeaders),
  }))
  const { use, maxReplayBytes, maxBodyBytes } = config
  return { config, providers, routes, use, maxReplayBytes, maxBodyBytes }
}

/** Where a configuration comes from, so that it can be read again. */
export interface ConfigSource {
  /** A file's path, an object, or `undefined` to look for a file in `home`. */
  readonly config?: string | UserConfig | undefined
  readonly cwd: string
  /** @default `cwd` */
  readonly home?: string | undefined
  readonly env: Environment
  readonly flags: Flags
}

/**
 * What a config file gets for `import … from 'codex-pool'`: the running module's own, so that the file needs no
 * `node_modules` beside it, and an error that it throws is an instance of the class that the gateway looks for.
 */
const forConfigFiles = { ConfigError, conversationOf, CredentialRejected, defineConfig }

/** @throws {ConfigError} with every problem at once */
export async function readConfig({ config, cwd, home, env, flags }: ConfigSource): Promise<ResolvedConfig> {
  if (typeof config === 'object') return resolveConfig(config, { cwd, baseDir: home, env, flags })
  return loadConfig({ file: config, cwd, home, env, flags, ownModules: { 'codex-pool': forConfigFiles } })
}

export { ConfigError }
