import type { CodexSettings, GeminiApiKeySettings, GeminiSettings } from './config.js'
import { defaults } from './defaults.js'
import type { Problem } from './problems.js'
import { type Rule, rules } from './rules.js'
import { showValue } from './secrets.js'

/** Settings of the command line, which go before all others. */
export interface Flags {
  readonly listen?: string | undefined
  readonly poolDir?: string | undefined
  readonly database?: string | false | undefined
}

/** A setting, where it was written, and the folder that a path in it is relative to. */
export interface Setting {
  readonly value: unknown
  readonly key: string
  readonly file: string
  readonly base: string
}

export interface Layers {
  readonly flags: Flags
  readonly overlay: Overlay
  readonly user: Readonly<Record<string, unknown>>
  /** The name of the user's layer in errors. */
  readonly file: string
  /** Folder of the file. */
  readonly baseDir: string
  readonly cwd: string
}

const names = {
  listen: { flag: '--listen', variable: 'PROXY_LISTEN_ADDR', rule: rules.listen },
  poolDir: { flag: '--pool-dir', variable: 'POOL_DIR', rule: rules.text },
  database: { flag: '--database', variable: 'PROXY_DB_PATH', rule: rules.textOrFalse },
}

/** The first layer that has a value: flags, environment, file, defaults. */
export function settingOf(name: keyof typeof names, { flags, overlay, user, ...places }: Layers): Setting {
  const { flag, variable } = names[name]
  const { file, baseDir, cwd } = places
  const settings = [
    { value: flags[name], key: flag, file: 'command line', base: cwd },
    { value: overlay[name], key: variable, file: 'environment', base: cwd },
    { value: user[name], key: name, file, base: baseDir },
  ]
  // Beside the file, so that leaving a path out and writing its default down mean the same.
  const fallback = { value: defaults[name], key: name, file: 'defaults', base: baseDir }
  return settings.find(({ value }) => value !== undefined) ?? fallback
}

export function checkFlags(flags: Flags): Problem[] {
  return Object.entries(names).flatMap(([name, { flag: key, rule }]) => {
    const value = flags[name as keyof Flags]
    const problem = value === undefined ? undefined : rule(value)
    return problem ? { file: 'command line', key, value: showValue(key, value), ...problem } : []
  })
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Settings of the environment, which go before those of the file. */
export interface Overlay {
  listen?: string
  poolDir?: string
  database?: string
  attempts?: number
  refreshEnabled?: false
  logLevel?: 'debug'
  /** For every provider of the type. */
  readonly providers: {
    readonly codex: Partial<CodexSettings>
    readonly gemini: Partial<GeminiSettings>
    readonly 'gemini-api-key': Partial<GeminiApiKeySettings>
  }
}

interface Variable {
  readonly rule: Rule
  set(overlay: Overlay, value: string): void
}

const attempts: Rule = (value) =>
  /^[1-9]\d{0,8}$/.test(String(value))
    ? undefined
    : { code: 'out_of_range', message: 'must be a whole number, at least 1' }

const onOff: Rule = (value) =>
  /^(0|1|true|false)$/.test(String(value)) ? undefined : { code: 'bad_value', message: 'must be 0 or 1' }

const isOn = (value: string): boolean => value === '1' || value === 'true'

// `0` changes nothing: an image that sets every variable to its default must not undo what the file says.
const variables: Record<string, Variable> = {
  PROXY_LISTEN_ADDR: { rule: rules.listen, set: (overlay, value) => (overlay.listen = value) },
  POOL_DIR: { rule: rules.text, set: (overlay, value) => (overlay.poolDir = value) },
  PROXY_DB_PATH: { rule: rules.text, set: (overlay, value) => (overlay.database = value) },
  PROXY_MAX_ATTEMPTS: { rule: attempts, set: (overlay, value) => (overlay.attempts = Number(value)) },
  PROXY_DISABLE_REFRESH: {
    rule: onOff,
    set: (overlay, value) => isOn(value) && (overlay.refreshEnabled = false),
  },
  PROXY_DEBUG: { rule: onOff, set: (overlay, value) => isOn(value) && (overlay.logLevel = 'debug') },
  CODEX_HOME: { rule: rules.text, set: ({ providers }, value) => (providers.codex.codexHome = value) },
  UPSTREAM_RESPONSES_BASE: address(({ codex }, value) => (codex.responsesBase = value)),
  UPSTREAM_WHAM_BASE: address(({ codex }, value) => (codex.whamBase = value)),
  UPSTREAM_REFRESH_BASE: address(({ codex }, value) => (codex.refreshBase = value)),
  UPSTREAM_OPENAI_BASE: address(({ codex }, value) => (codex.openaiBase = value)),
  UPSTREAM_GEMINI_BASE: address(({ gemini }, value) => (gemini.upstream = value)),
  UPSTREAM_GEMINI_REFRESH_BASE: address(({ gemini }, value) => (gemini.refreshBase = value)),
  UPSTREAM_GEMINI_LOGIN_BASE: address(({ gemini }, value) => (gemini.loginBase = value)),
  UPSTREAM_GEMINI_API_BASE: address((providers, value) => (providers['gemini-api-key'].upstream = value)),
  GEMINI_OAUTH_CLIENT_ID: {
    rule: rules.text,
    set: ({ providers }, value) => (providers.gemini.oauthClientId = value),
  },
  GEMINI_OAUTH_CLIENT_SECRET: {
    rule: rules.text,
    set: ({ providers }, value) => (providers.gemini.oauthClientSecret = value),
  },
}

function address(set: (providers: Overlay['providers'], value: string) => void): Variable {
  return { rule: rules.upstream, set: ({ providers }, value) => set(providers, value) }
}

/** Reads our variables; an empty one counts as not set. A value that cannot be used is a problem, and left out. */
export function readEnvironment(env: Environment): { overlay: Overlay; problems: Problem[] } {
  const overlay: Overlay = { providers: { codex: {}, gemini: {}, 'gemini-api-key': {} } }
  const problems: Problem[] = []
  for (const [key, { rule, set }] of Object.entries(variables)) {
    const value = env[key]?.trim()
    if (!value) continue
    const problem = rule(value)
    if (problem) problems.push({ file: 'environment', key, value: showValue(key, value), ...problem })
    else set(overlay, value)
  }
  return { overlay, problems }
}
