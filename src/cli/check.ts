import { describeConfig } from '../../config/index.js'
import { readConfig } from '../settings.js'
import { builtinStrategies } from '../accounts/strategies.js'
import { settingsOf } from '../settings.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { print } from './output.js'

/** `codex-pool check`: status 2 and every problem, or the configuration as it will run. No secret. */
export async function check(options: CommonOptions): Promise<void> {
  const config = await readConfig(sourceOf(options))
  settingsOf(config, builtinStrategies())
  print(JSON.stringify(describeConfig(config), null, 2))
}
