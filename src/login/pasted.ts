import type { Authorization } from './authorization.js'
import type { OwnCallback } from './callback-listener.js'
import { LoginFailed } from './failure.js'
import type { Person } from './person.js'

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
