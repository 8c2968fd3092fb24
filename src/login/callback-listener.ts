import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LoginFlow } from '../../config/provider.js'
import type { Authorization, Callback } from './authorization.js'

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
}: LoginFlow['callback']): Promise<CallbackListener | undefined> {
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

export function redirectUri({ port, path }: LoginFlow['callback']): string {
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

/** What the browser shows in the end: fixed words, nothing of the request. */
const PAGES = {
  granted: [
    200,
    'Almost done. Go back to the terminal: it says how the login went. You can close this page.',
  ],
  refused: [200, 'The login was refused. Go back to the terminal. You can close this page.'],
  foreign: [
    400,
    'This does not belong to the login that was started. Begin again with the address on the terminal.',
  ],
  unknown: [404, 'There is nothing here.'],
} as const

export function showPage(response: ServerResponse, page: keyof typeof PAGES): void {
  const [status, text] = PAGES[page]
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    // The address of this page holds the code.
    'referrer-policy': 'no-referrer',
    // Or a browser's kept-alive connection would keep the command from ending.
    connection: 'close',
  })
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>codex-pool</title><p>${text}</p></html>\n`,
  )
}
