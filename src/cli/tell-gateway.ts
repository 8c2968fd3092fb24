import type { ResolvedConfig } from '../../config/config.js'
import type { ReloadReport } from '../admin/administered.js'
import { adminCall, nobodyAt } from './admin-call.js'

/** Has the running gateway read the pool again, and says what came of it. The files are in place either way. */
export async function tellGateway(config: ResolvedConfig): Promise<string> {
  try {
    const told = await adminCall<ReloadReport>(config, 'POST', '/admin/reload')
    if (!told) return `${nobodyAt(config)}; the next one to start reads the pool anew.`
    if (told.poolDir === config.poolDir) return 'The running gateway knows.'
    return `The gateway on ${config.listen.host}:${config.listen.port} serves another pool: ${told.poolDir}. Name it with --pool-dir, or run this in its folder.`
  } catch (error) {
    return `The running gateway could not be told (${(error as Error).message}): restart it.`
  }
}
