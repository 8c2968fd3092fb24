export type * from './config.js'
export type * from './provider-entry.js'
export type * from './provider.js'
export { CredentialRejected } from './provider.js'
export { builtinStrategies, defineConfig, describeConfig } from './config.js'
export {
  forget,
  redact,
  redactAll,
  remember,
  rememberAnswer,
  rememberGiven,
  rememberNewer,
} from './secrets.js'
export type { Environment, Flags } from './layers.js'
export { loadConfig, type LoadOptions, type OwnModules } from './load.js'
export { holdsConfig } from './places.js'
export { builtinProviders, builtinRoutes, credentialsPattern, proxyOf } from './provider-entry.js'
export { ConfigError, keyOf, listChoices, type Problem, type ProblemCode } from './problems.js'
export { resolveConfig, type ConfigContext } from './resolve.js'
export { covers, isLoopback, type ListenAddress, localAddress, parseListen } from './rules.js'
export {
  causeOf,
  DEEPEST,
  defined,
  excessOf,
  isRecord,
  kept,
  messageOf,
  MOST_VALUES,
  numberFrom,
  parseJson,
  quotaFrom,
  reasonOf,
  timeFrom,
} from './foreign.js'
