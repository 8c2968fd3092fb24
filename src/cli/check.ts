import { describeConfig } from '../../config/index.js'
import { readConfig } from '../config-source.js'
import { builtinStrategies } from '../strategies/index.js'
import { settingsOf } from '../settings.js'
import { sourceOf, type CommonOptions } from './options.js'
import { print } from './print.js'

/** `codex-pool check`: status 2 and every problem, or the configuration as it will run. No secret. */
export async function check(options: CommonOptions): Promise<void> {
  const config = await readConfig(sourceOf(options))
  settingsOf(config, builtinStrategies())
  print(JSON.stringify(describeConfig(config), null, 2))
}
