import type { CodeGrant, LoginFlow } from '../../config/provider.js'
import { type Authorization, authorize, LoginFailed } from './authorization.js'
import { listenForCallback, type OwnCallback, redirectUri } from './callback-listener.js'
import type { Person } from './person.js'

/** Who has not come back by then has forgotten it; ms. */
const PATIENCE_MS = 15 * 60_000

/**
 * A login in a browser, which then is sent back to this machine; where it cannot be, the person pastes the address.
 * @throws {LoginFailed}
 */
export async function browserFlow(
  login: LoginFlow,
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

/**
 * The first pasted address that belongs to our login.
 * @throws {LoginFailed} when there is nobody to paste one
 */
export async function pastedCallback(
  person: Pick<Person, 'say' | 'lines'>,
  judge: Authorization['judge'],
): Promise<OwnCallback> {
  for await (const line of person.lines()) {
    if (line.trim() === '') continue
    const callback = judge(parametersOf(line.trim()))
    if (callback.kind !== 'foreign') return callback
    person.say('That is not the address this login ends on. Paste all of it, with code=… and state=…')
  }
  throw new LoginFailed('login_unanswered', 'the login was not finished: no address came back')
}

/** A whole address, or only its query. */
function parametersOf(pasted: string): URLSearchParams {
  return new URLSearchParams(pasted.replace(/^[^?]*\?/, '').replace(/#.*$/, ''))
}
