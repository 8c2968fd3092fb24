import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

/** In the child: listens, tells the parent where, and answers its questions about CPU time. */
export async function serveChild(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  answerParent(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

export function answerParent(url: string): void {
  process.on('message', () => process.send?.({ cpuMs: cpuMs() }))
  // The parent has ended; without this the child would run on.
  process.once('disconnect', () => process.exit())
  process.send?.({ url })
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** In the parent: a process under measurement. */
export class Child {
  private constructor(
    private readonly process: ChildProcess,
    readonly url: string,
  ) {}

  static async start(file: string, ...args: string[]): Promise<Child> {
    const child = fork(join(import.meta.dirname, file), args)
    const [{ url }] = (await once(child, 'message')) as [{ url: string }]
    return new Child(child, url)
  }

  /** CPU time that it has used so far; ms. */
  async cpuMs(): Promise<number> {
    this.process.send('cpu')
    const [{ cpuMs }] = (await once(this.process, 'message')) as [{ cpuMs: number }]
    return cpuMs
  }

  async end(): Promise<void> {
    this.process.disconnect()
    await once(this.process, 'exit')
  }
}
