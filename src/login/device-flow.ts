import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../config/index.js'
import type { CallContext, CodeGrant, DeviceCode, DeviceProgress, LoginFlow } from '../../config/provider.js'
import { LoginFailed, unreachable } from './authorization.js'
import type { Person } from './person.js'

/**
 * A login with a code that the user enters in a browser on any machine.
 * @throws {LoginFailed}
 */
export async function deviceFlow(
  login: LoginFlow,
  person: Pick<Person, 'say'>,
  call: () => CallContext,
): Promise<CodeGrant> {
  const code = await request(login, call())
  person.say(
    `Open this page in any browser, sign in with the account that is to join the pool, and enter the code:\n\n` +
      `  ${code.page}\n\n  ${code.code}\n\nEnter a code only if you have asked for it yourself. Waiting …`,
  )
  for (;;) {
    const progress = await poll(code, person, call())
    if (progress.kind === 'granted') return progress
    if (progress.kind === 'refused') throw new LoginFailed('login_refused', progress.reason)
    if (Date.now() >= code.expiresAt)
      throw new LoginFailed('login_expired', 'the code was not entered in time; start again')
    await delay(code.intervalMs)
  }
}

async function request(login: LoginFlow, context: CallContext): Promise<DeviceCode> {
  if (!login.device) throw new LoginFailed('issuer_error', 'this provider has no device codes; use --browser')
  try {
    return await login.device(context)
  } catch (error) {
    // `fetch` throws a TypeError; any other error is the provider's own.
    if (error instanceof TypeError) throw unreachable(login.tokenUrl, error)
    throw new LoginFailed('issuer_error', (error as Error).message)
  }
}

/** A network that is down for a moment does not end the login: the code stays valid. */
async function poll(
  code: DeviceCode,
  person: Pick<Person, 'say'>,
  context: CallContext,
): Promise<DeviceProgress> {
  try {
    return await code.poll(context)
  } catch (error) {
    person.say(`The issuer does not answer (${messageOf(error)}); trying again …`)
    return { kind: 'pending' }
  }
}
