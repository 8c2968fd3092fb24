import type { ProviderAccount } from '../../config/provider.js'
import { fields } from '../json.js'

/** What the client is told; each request then carries the chosen account's own. */
export const POOL_PROJECT = 'codex-pool'

/**
 * Puts the account's own project in every field that carries one. With the client's, one account's token would ask
 * for another one's project: 403. A field that is not there is not added, since not every method knows it.
 */
export function rewriteBody(body: unknown, { facts }: ProviderAccount): unknown {
  const json = fields(body)
  if (!json) return body
  const metadata = fields(json.metadata)
  const own = (names: readonly string[], from: Record<string, unknown>) =>
    Object.fromEntries(names.filter((name) => name in from).map((name) => [name, facts.project]))
  return {
    ...json,
    ...own(['project', 'cloudaicompanionProject'], json),
    ...(metadata && { metadata: { ...metadata, ...own(['duetProject'], metadata) } }),
  }
}
