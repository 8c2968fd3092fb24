import { describeConfig } from '../../config/index.js'
import { readConfig } from '../config-source.js'
import { builtinStrategies } from '../strategies/index.js'
import { settingsOf } from '../settings.js'
import type { CommonOptions } from './main.js'
import { flagsOf, print } from './serve.js'

/** `codex-pool check`: status 2 and every problem, or the configuration as it will run. No secret. */
export async function check(options: CommonOptions): Promise<void> {
  const source = { config: options.config, cwd: process.cwd(), env: process.env, flags: flagsOf(options) }
  const config = await readConfig(source)
  settingsOf(config, builtinStrategies())
  print(JSON.stringify(describeConfig(config), null, 2))
}
