import type { UserConfig } from './config.js'

/**
 * Types a configuration: names that a route uses must be declared or built in, or it does not compile.
 * Returns its argument.
 */
export function defineConfig<P extends string = never, S extends string = never, R extends string = never>(
  config: UserConfig<P, S, R>,
): UserConfig<P, S, R> {
  return config
}
