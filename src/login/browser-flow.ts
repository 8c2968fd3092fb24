import type { CodeGrant, Login } from '../../config/provider.js'
import { authorize } from './authorization.js'
import { listenForCallback, redirectUri, type OwnCallback } from './callback-listener.js'
import { LoginFailed } from './failure.js'
import { pastedCallback } from './pasted.js'
import type { Person } from './person.js'

/** Who has not come back by then has forgotten it; ms. */
const PATIENCE_MS = 15 * 60_000

/**
 * A login in a browser, which then is sent back to this machine; where it cannot be, the person pastes the address.
 * @throws {LoginFailed}
 */
export async function browserFlow(
  login: Login,
  person: Person,
  patienceMs = PATIENCE_MS,
): Promise<CodeGrant> {
  const listener = await listenForCallback(login.callback)
  try {
    const { url, judge } = await authorize(login, listener?.redirectUri ?? redirectUri(login.callback))
    person.say(instructions(url, listener ? undefined : login.callback.port))
    person.open(url)
    const callback = await first(
      [pastedCallback(person, judge), ...(listener ? [listener.wait(judge)] : [])],
      patienceMs,
    )
    if (callback.kind === 'granted') return callback
    throw new LoginFailed('login_refused', `the login was refused: ${callback.reason}`)
  } finally {
    listener?.close()
  }
}

function instructions(url: string, portTaken: number | undefined): string {
  const ending =
    portTaken === undefined
      ? 'If that browser is on another machine, its last page will not load: paste the address of that page here.'
      : `Another program has port ${portTaken}, so the last page will not load: paste the address of that page here.`
  return `Open this page and sign in with the account that is to join the pool:\n\n  ${url}\n\n${ending}`
}

/** The first that comes. None that fails ends the waiting for the others. */
function first(callbacks: Promise<OwnCallback>[], patienceMs: number): Promise<OwnCallback> {
  return new Promise((resolve, reject) => {
    const late = new LoginFailed('login_expired', 'nobody came back from the browser in time; start again')
    const patience = setTimeout(() => reject(late), patienceMs)
    Promise.any(callbacks)
      .then(resolve, (failed: AggregateError) => reject(failed.errors[0]))
      .finally(() => clearTimeout(patience))
  })
}
