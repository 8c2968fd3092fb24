/** What a process holds. */
export interface Resources {
  /** After a collection, if Node was started with `--expose-gc`. */
  readonly heapMB: number
  readonly rssMB: number
  readonly sockets: number
  /** Timers that keep the process alive. */
  readonly timers: number
}

export function resources(collect: boolean = true): Resources {
  if (collect) globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const active = process.getActiveResourcesInfo()
  const count = (kind: string) => active.filter((resource) => resource === kind).length
  const MB = (bytes: number) => Math.round(bytes / 1024 / 102.4) / 10
  return { heapMB: MB(heapUsed), rssMB: MB(rss), sockets: count('TCPSocketWrap'), timers: count('Timeout') }
}
