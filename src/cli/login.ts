import type { CallContext, Credential, LoginFlow } from '../../config/provider.js'
import { browserFlow } from '../login/browser-flow.js'
import { deviceFlow } from '../login/device-flow.js'
import { atTerminal, hasBrowser, type Person } from '../login/person.js'
import { redeem } from '../login/authorization.js'
import { Network } from '../network.js'
import { accountOf, joinPool } from './add.js'
import { readPoolFolder, type PoolFolder } from './pool-folder.js'
import { printAsIs, refusal } from './output.js'
import type { CommonOptions } from './pool-folder.js'

export interface LoginOptions {
  readonly device?: boolean
  readonly browser?: boolean
  readonly name?: string
}

/** After this a call to the issuer is given up; ms. */
const CALL_MS = 30_000

/** `codex-pool login PROVIDER`: a login of the pool's own. For an account that is in the pool it replaces the old one. */
export async function login(options: CommonOptions, provider: string, own: LoginOptions): Promise<void> {
  const pool = await readPoolFolder(options)
  const definition = loginOf(provider, pool)
  const network = new Network()
  const person = atTerminal(printAsIs)
  try {
    const call = (): CallContext => ({
      fetch: network.fetch(pool.config.providers[provider]?.proxy),
      signal: AbortSignal.timeout(CALL_MS),
    })
    const credential = await logIn(definition, own, person, call)
    const inspection = pool.providers.get(provider)!.inspect?.(credential) ?? {}
    if (typeof inspection === 'string') throw refusal('issuer_error', `the new login ${inspection}`)
    const added = { provider, credential, inspection }
    await joinPool(added, pool, { known: accountOf(added, pool.accounts), name: own.name })
  } finally {
    person.leave()
    await network.close()
  }
}

async function logIn(
  definition: LoginFlow,
  { device, browser }: LoginOptions,
  person: Person,
  call: () => CallContext,
): Promise<Credential> {
  const atDesk = hasBrowser() && process.stdout.isTTY
  const byDevice = device ?? (definition.device !== undefined && !browser && !atDesk)
  const grant = byDevice ? await deviceFlow(definition, person, call) : await browserFlow(definition, person)
  return redeem(definition, grant, call())
}

function loginOf(provider: string, { providers }: PoolFolder): LoginFlow {
  const definition = providers.get(provider)?.login
  if (definition) return definition
  const names = [...providers].flatMap(([name, { login }]) => (login ? [name] : [])).join(', ')
  const what = providers.has(provider)
    ? `${provider} has no login: codex-pool add FILE`
    : `there is no provider "${provider}"`
  throw refusal('no_login', `${what}. Logins: ${names}`)
}
