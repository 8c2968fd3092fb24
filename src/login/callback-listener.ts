import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Login } from '../../config/provider.js'
import type { Authorization, Callback } from './authorization.js'
import { showPage } from './page.js'

export interface CallbackListener {
  /** Where the issuer has to send the browser. */
  readonly redirectUri: string
  /** The first callback that belongs to our login. */
  wait(judge: Authorization['judge']): Promise<OwnCallback>
  close(): void
}

export type OwnCallback = Exclude<Callback, { kind: 'foreign' }>

/** Listens for the browser that comes back. `undefined`: another program has the port. */
export async function listenForCallback({
  port,
  path,
}: Login['callback']): Promise<CallbackListener | undefined> {
  const server = createServer()
  try {
    await listen(server, port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
    throw error
  }
  return {
    redirectUri: redirectUri({ port: (server.address() as AddressInfo).port, path }),
    wait: (judge) => nextCallback(server, path, judge),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

export function redirectUri({ port, path }: Login['callback']): string {
  return `http://127.0.0.1:${port}${path}`
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
}

/** A foreign callback changes nothing: any page in the browser can send one, and must not end the login. */
function nextCallback(server: Server, path: string, judge: Authorization['judge']): Promise<OwnCallback> {
  return new Promise((resolve) => {
    server.on('request', (request, response) => {
      const url = new URL(`http://127.0.0.1${request.url}`)
      if (request.method !== 'GET' || url.pathname !== path) return showPage(response, 'unknown')
      const callback = judge(url.searchParams)
      // Not before the page is out: what follows closes the connection.
      if (callback.kind !== 'foreign') response.once('close', () => resolve(callback))
      showPage(response, callback.kind)
    })
  })
}
