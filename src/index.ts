// Our types use Node's. Without this line a project finds them only if its tsconfig has `types: ["node"]`.
/// <reference types="node" preserve="true" />
export { defineConfig } from '../config/config.js'
export { ConfigError } from '../config/index.js'
export { CredentialRejected } from '../config/provider.js'
export { createGateway, type GatewayOptions } from './create-gateway.js'
export type { Gateway } from './gateway.js'
export { startServer, type RunningServer } from './server.js'
export type { UserConfig, Middleware, RouteEntry, RetryPolicy, AccessConfig } from '../config/config.js'
export type { ProviderEntry } from '../config/provider-entry.js'
export type * from '../config/provider.js'
export type { AccountReport } from './admin/reports.js'
export type { HealthReport } from './telemetry/health.js'
export type { GatewayEvents, RequestEvent, AttemptEvent } from './telemetry/events.js'
