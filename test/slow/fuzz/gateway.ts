import { createGateway, startServer } from '../../../src/index.js'

/** What the fuzzer asks of the process under test. */
export type Order = { readonly kind: 'reload' } | { readonly kind: 'memory' } | { readonly kind: 'stop' }

/** What the process under test says. */
export type Told =
  | { readonly kind: 'listening'; readonly url: string }
  | { readonly kind: 'reloaded' }
  | { readonly kind: 'memory'; readonly heapMB: number }

// The process under test: a gateway that knows nothing of the fuzzer.
const gateway = await createGateway(process.argv[2])
const server = await startServer(gateway)
const tell = (told: Told): void => void process.send!(told)

process.on('message', (order: Order) => {
  if (order.kind === 'reload') void gateway.reload().finally(() => tell({ kind: 'reloaded' }))
  if (order.kind === 'memory') {
    globalThis.gc?.()
    tell({ kind: 'memory', heapMB: process.memoryUsage().heapUsed / 2 ** 20 })
  }
  if (order.kind === 'stop')
    void server
      .stop(100)
      .then(() => gateway.close())
      .then(() => process.exit(0))
})
tell({ kind: 'listening', url: server.url })
