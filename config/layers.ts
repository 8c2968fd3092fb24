import { defaults } from './config.js'
import type { Problem } from './problems.js'
import { type BuiltinProvider, builtinProviders, type ProviderEntry } from './provider-entry.js'
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
export function settingOf(name: keyof typeof names, layers: Layers): Setting {
  const { flag, variable } = names[name]
  const { file, baseDir, cwd, flags, overlay, user } = layers
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
  return Object.entries(names).flatMap(([name, { flag, rule }]) => {
    const value = flags[name as keyof Flags]
    return value === undefined ? [] : problemsWith('command line', flag, value, rule)
  })
}

function problemsWith(file: string, key: string, value: unknown, rule: Rule): Problem[] {
  const problem = rule(value)
  return problem ? [{ file, key, value: showValue(key, value), ...problem }] : []
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
    readonly [Type in BuiltinProvider]: Partial<Extract<ProviderEntry, { type: Type }>>
  }
}

const attempts: Rule = (value) =>
  /^[1-9]\d{0,8}$/.test(String(value))
    ? undefined
    : { code: 'out_of_range', message: 'must be a whole number, at least 1' }

const onOff: Rule = (value) =>
  /^(0|1|true|false)$/.test(String(value)) ? undefined : { code: 'bad_value', message: 'must be 0 or 1' }

const isOn = (value: string): boolean => value === '1' || value === 'true'

/** The settings that a variable makes of its value. */
type Settings = Omit<Overlay, 'providers'>
const of = (rule: Rule, settings: (value: string) => Settings) => ({ rule, settings })
const ofProvider = (rule: Rule, type: keyof Overlay['providers'], field: string) => ({ rule, type, field })

// `0` changes nothing: an image that sets every variable to its default must not undo what the file says.
const variables: Record<string, ReturnType<typeof of> | ReturnType<typeof ofProvider>> = {
  PROXY_LISTEN_ADDR: of(rules.listen, (listen) => ({ listen })),
  POOL_DIR: of(rules.text, (poolDir) => ({ poolDir })),
  PROXY_DB_PATH: of(rules.text, (database) => ({ database })),
  PROXY_MAX_ATTEMPTS: of(attempts, (value) => ({ attempts: Number(value) })),
  PROXY_DISABLE_REFRESH: of(onOff, (value) => (isOn(value) ? { refreshEnabled: false } : {})),
  PROXY_DEBUG: of(onOff, (value) => (isOn(value) ? { logLevel: 'debug' } : {})),
  CODEX_HOME: ofProvider(rules.text, 'codex', 'codexHome'),
  UPSTREAM_RESPONSES_BASE: ofProvider(rules.upstream, 'codex', 'responsesBase'),
  UPSTREAM_WHAM_BASE: ofProvider(rules.upstream, 'codex', 'whamBase'),
  UPSTREAM_REFRESH_BASE: ofProvider(rules.upstream, 'codex', 'refreshBase'),
  UPSTREAM_OPENAI_BASE: ofProvider(rules.upstream, 'codex', 'openaiBase'),
  UPSTREAM_GEMINI_BASE: ofProvider(rules.upstream, 'gemini', 'upstream'),
  UPSTREAM_GEMINI_REFRESH_BASE: ofProvider(rules.upstream, 'gemini', 'refreshBase'),
  UPSTREAM_GEMINI_LOGIN_BASE: ofProvider(rules.upstream, 'gemini', 'loginBase'),
  UPSTREAM_GEMINI_API_BASE: ofProvider(rules.upstream, 'gemini-api-key', 'upstream'),
  GEMINI_OAUTH_CLIENT_ID: ofProvider(rules.text, 'gemini', 'oauthClientId'),
  GEMINI_OAUTH_CLIENT_SECRET: ofProvider(rules.text, 'gemini', 'oauthClientSecret'),
}

/** Variables of many programs; ours are the upstreams' proxies. An address without a scheme is taken for an http proxy. */
function checkProxies(env: Environment): Problem[] {
  return ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'].flatMap((key) => {
    const value = env[key]
    if (!value) return []
    const problem = rules.proxy(value.includes('://') ? value : `http://${value}`)
    return problem ? [{ file: 'environment', key, value: showValue(key, value), ...problem }] : []
  })
}

/** Reads our variables; an empty one counts as not set. A value that cannot be used is a problem, and left out. */
export function readEnvironment(env: Environment): { overlay: Overlay; problems: Problem[] } {
  const none = Object.keys(builtinProviders).map((type) => [type, {}])
  const overlay: Overlay = { providers: Object.fromEntries(none) as Overlay['providers'] }
  const problems = Object.entries(variables).flatMap(([key, variable]) => {
    const value = env[key]?.trim()
    if (!value) return []
    const found = problemsWith('environment', key, value, variable.rule)
    if (found.length > 0) return found
    if ('settings' in variable) Object.assign(overlay, variable.settings(value))
    else Object.assign(overlay.providers[variable.type], { [variable.field]: value })
    return []
  })
  return { overlay, problems: [...problems, ...checkProxies(env)] }
}
