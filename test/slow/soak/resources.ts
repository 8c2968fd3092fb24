import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** What a process holds. */
export interface Resources {
  /** After a collection. */
  readonly heapMB: number
  readonly rssMB: number
  readonly sockets: number
  /** Timers that keep the process alive. */
  readonly timers: number
}

export function resources(): Resources {
  collectGarbage()
  const { heapUsed, rss } = process.memoryUsage()
  const MB = (bytes: number) => Math.round(bytes / 1024 / 102.4) / 10
  return { heapMB: MB(heapUsed), rssMB: MB(rss), sockets: active('TCPSocketWrap'), timers: active('Timeout') }
}

/** How many resources of a kind keep the process alive. */
export const active = (kind: string): number =>
  process.getActiveResourcesInfo().filter((resource) => resource === kind).length
