import type { ConfigSource } from '../config-source.js'

/** What every command takes. */
export interface CommonOptions {
  config?: string
  listen?: string
  poolDir?: string
}

/** The configuration that a command works with. */
export function sourceOf({ config, listen, poolDir }: CommonOptions): ConfigSource {
  return { config, cwd: process.cwd(), env: process.env, flags: { listen, poolDir } }
}
