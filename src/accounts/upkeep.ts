import type { Account } from './account.js'
import { adopt, put, type Surroundings } from './adoption.js'
import { codeOf } from './durable-file.js'
import { notShared } from './renewal.js'
import type { SpentLogins } from './spent-logins.js'
import { isNewer, reviveTwin, twinsOf, type Twin } from './twin.js'

/** Whether there is anything to settle. Cheap, and without a lock: every change of a file asks for every account. */
export async function hasNews(account: Account, { provider, spent }: Surroundings): Promise<boolean> {
  if (account.unsaved !== undefined) return true
  const twins = await twinsOf(account, provider)
  return twins.some((twin) => isNewer(twin, account, spent) || isLeftBehind(twin, account, spent))
}

/**
 * Brings the account, its file and the client's own copy of its login together again. Needs the account's lock.
 * @returns what has come of it, if anything has
 */
export async function settle(account: Account, around: Surroundings): Promise<string | undefined> {
  const adopted = await adopt(account, around)
  const pending = account.unsaved !== undefined
  if (pending) await put(account, account, around)
  const left = (await twinsOf(account, around.provider)).filter((twin) =>
    isLeftBehind(twin, account, around.spent),
  )
  if (left.length === 0) account.unshared = undefined
  for (const twin of left) account.unshared = await revive(twin, account, around)
  if (adopted) return 'adopted'
  const written = (pending && account.unsaved === undefined) || (left.length > 0 && !account.unshared)
  return written ? 'written' : undefined
}

async function revive(twin: Twin, account: Account, { provider }: Surroundings): Promise<string | undefined> {
  try {
    await reviveTwin(twin, account, provider)
    return undefined
  } catch (error) {
    return notShared(twin.file, codeOf(error))
  }
}

/** The client still holds a token that we have spent; were it to present it, both would be logged out. */
function isLeftBehind({ inspection: { login } }: Twin, account: Account, spent: SpentLogins): boolean {
  const ours = account.inspection.login
  return login !== undefined && login !== ours && spent.has(login) && ours !== undefined && !spent.has(ours)
}
