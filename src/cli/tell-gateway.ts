import type { ResolvedConfig } from '../../config/config.js'
import type { ReloadReport } from '../admin/administered.js'
import { adminCall } from './admin-call.js'

/** Has the running gateway read the pool again, and says what came of it. The files are in place either way. */
export async function tellGateway(config: ResolvedConfig): Promise<string> {
  try {
    const told = await adminCall<ReloadReport>(config, 'POST', '/admin/reload')
    if (told) return 'The running gateway knows.'
    return `No gateway answers on ${config.listen.host}:${config.listen.port}; the next one to start reads the pool anew.`
  } catch (error) {
    return `The running gateway could not be told (${(error as Error).message}): restart it.`
  }
}
