import type { Account } from './account.js'

/** Says which accounts are held back and when they are used: some of them cost money per token. */
export function standbyNotices(accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ id, provider, inspection: { standby, kind } }) => {
    const others = accounts.some(
      (other) => other.provider === provider && other.inspection.standby === undefined,
    )
    const what = `${id} (${kind ?? provider})`
    if (standby === 'when-exhausted')
      return [`${what} is used only when no other ${provider} account can serve`]
    if (standby === 'when-alone' && others)
      return [`${what} is not used while there are other ${provider} accounts`]
    return []
  })
}
