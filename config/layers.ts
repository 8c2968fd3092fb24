import { defaults } from './defaults.js'
import type { Overlay } from './environment.js'
import type { Problem } from './problems.js'
import { rules } from './rules.js'
import { showValue } from './secrets.js'

/** What the command line says over everything else. */
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
  /** What errors call the user's layer. */
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

/** Flags, environment, file, defaults: the first that says something. */
export function settle(name: keyof typeof names, { flags, overlay, user, ...places }: Layers): Setting {
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
    const fault = value === undefined ? undefined : rule(value)
    return fault ? { file: 'command line', key, value: showValue(key, value), ...fault } : []
  })
}
