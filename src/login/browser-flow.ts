import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { CodeGrant, LoginFlow } from '../../config/provider.js'
import { type Authorization, authorize, type Callback, LoginFailed } from './authorization.js'
import type { Person } from './person.js'

/** Time for the user to finish the login; ms. */
const PATIENCE_MS = 15 * 60_000

type OwnCallback = Exclude<Callback, { kind: 'foreign' }>

/**
 * Logs in with a browser. The issuer sends the browser back to a port of this machine; where that does not work, the
 * user pastes the address of the last page.
 * @throws {LoginFailed}
 */
export async function browserFlow(
  login: LoginFlow,
  person: Person,
  patienceMs = PATIENCE_MS,
): Promise<CodeGrant> {
  const { port, path } = login.callback
  const server = await listen(port)
  const ownPort = server ? (server.address() as AddressInfo).port : port
  try {
    const { url, judge } = await authorize(login, `http://127.0.0.1:${ownPort}${path}`)
    const ending = server
      ? 'If that browser is on another machine, its last page will not load: paste the address of that page here.'
      : `Another program has port ${port}, so the last page will not load: paste the address of that page here.`
    person.say(
      `Open this page and sign in with the account that is to join the pool:\n\n  ${url}\n\n${ending}`,
    )
    person.open(url)
    const waiting = [pastedCallback(person, judge), ...(server ? [sentCallback(server, path, judge)] : [])]
    const callback = await firstOf(waiting, patienceMs)
    if (callback.kind === 'granted') return callback
    throw new LoginFailed('login_refused', `the login was refused: ${callback.reason}`)
  } finally {
    server?.close()
    server?.closeAllConnections()
  }
}

/** Listens on a port of this machine; `undefined` if another program has it. */
async function listen(port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
    throw error
  }
}

/** The first callback that arrives. A source that fails does not end the wait for the other one. */
function firstOf(callbacks: Promise<OwnCallback>[], patienceMs: number): Promise<OwnCallback> {
  return new Promise((resolve, reject) => {
    const late = new LoginFailed('login_expired', 'the browser did not come back in time; start again')
    const patience = setTimeout(() => reject(late), patienceMs)
    Promise.any(callbacks)
      .then(resolve, (failed: AggregateError) => reject(failed.errors[0]))
      .finally(() => clearTimeout(patience))
  })
}

/**
 * The first pasted address that belongs to our login: a whole address, or only its query.
 * @throws {LoginFailed} when the input ends without one
 */
async function pastedCallback(person: Person, judge: Authorization['judge']): Promise<OwnCallback> {
  for await (const line of person.lines()) {
    if (line.trim() === '') continue
    const query = line
      .trim()
      .replace(/^[^?]*\?/, '')
      .replace(/#.*$/, '')
    const callback = judge(new URLSearchParams(query))
    if (callback.kind !== 'foreign') return callback
    person.say('That is not the address this login ends on. Paste all of it, with code=… and state=…')
  }
  throw new LoginFailed('login_unanswered', 'the login was not finished: no address came back')
}

/** A foreign callback changes nothing: any page in the browser can send one, and must not end the login. */
function sentCallback(server: Server, path: string, judge: Authorization['judge']): Promise<OwnCallback> {
  return new Promise((resolve) => {
    server.on('request', (request, response) => {
      const url = new URL(`http://127.0.0.1${request.url}`)
      if (request.method !== 'GET' || url.pathname !== path) return showPage(response, 'unknown')
      const callback = judge(url.searchParams)
      // Waits until the page is sent: the end of the login closes the connection.
      if (callback.kind !== 'foreign') response.once('close', () => resolve(callback))
      showPage(response, callback.kind)
    })
  })
}

/** The browser's last page: fixed words, nothing of the request. */
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

function showPage(response: ServerResponse, page: keyof typeof PAGES): void {
  const [status, text] = PAGES[page]
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    // The address of this page holds the code.
    'referrer-policy': 'no-referrer',
    // A browser's kept-alive connection would keep the command from ending.
    connection: 'close',
  })
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>codex-pool</title><p>${text}</p></html>\n`,
  )
}
