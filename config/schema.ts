import type { AccountEntry } from './account.js'
import type { AccessConfig, RetryPolicy, RouteEntry, UserConfig } from './config.js'
import { providerEntry } from './provider-entry.js'
import { boolean, callable, integer, list, ms, named, object, oneOf, rule, valueOr } from './rules.js'

const retryPolicy = object<RetryPolicy>({
  attempts: integer(1),
  waitForCooldownMs: ms(),
  waitForSlotMs: ms(),
  connectTimeoutMs: ms(1),
  headersTimeoutMs: ms(1),
  idleTimeoutMs: ms(1),
})

const account = object<AccountEntry>({
  order: integer(0),
  reserve: integer(0, 100),
  concurrency: integer(1),
  proxy: rule('proxy'),
  group: rule('text'),
})

const strategyChoice = {
  if: { type: 'string' },
  else: {
    ...object<{ sticky: string }>({ sticky: rule('text') }, ['sticky']),
    says: 'a name or { sticky: NAME }',
  },
}

const route = object<RouteEntry>(
  {
    path: rule('routePath'),
    provider: rule('text'),
    strategy: strategyChoice,
    retry: rule('text'),
    websocket: boolean,
  },
  ['path', 'provider'],
)

const keys = { type: 'object', additionalProperties: rule('accessKey'), minProperties: 1 }

const access = object<AccessConfig>({
  hosts: list(rule('host')),
  origins: list(rule('origin')),
  proxies: list(rule('address')),
  keys: valueOr(false, keys, 'false or names with their keys'),
})

type Section<K extends 'refresh' | 'pins' | 'log'> = NonNullable<UserConfig[K]>

/** The shape of a `UserConfig`. */
export const configSchema = object<UserConfig>({
  listen: rule('listen'),
  poolDir: rule('text'),
  database: rule('textOrFalse'),
  accounts: named(account),
  providers: named(valueOr(false, providerEntry, 'the settings of a provider, or false')),
  strategies: named(callable),
  retry: named(retryPolicy),
  routes: list(route),
  builtinRoutes: boolean,
  access: valueOr('host-app', access, "'host-app' or { hosts, origins, proxies, keys }"),
  use: list(callable),
  maxReplayBytes: integer(0),
  maxReplayTotalBytes: integer(0),
  maxBodyBytes: integer(1),
  refresh: object<Section<'refresh'>>({ enabled: boolean, leadMs: ms(), spacingMs: ms(), timeoutMs: ms(1) }),
  watch: boolean,
  quotaPollMs: ms(),
  pins: object<Section<'pins'>>({ max: integer(1), idleMs: ms(1) }),
  log: object<Section<'log'>>({ level: oneOf('error', 'warn', 'info', 'debug', 'silent') }),
})
