import type { AccountEntry } from '../../config/account.js'
import type { ResolvedConfig } from '../../config/config.js'
import { defined, keyOf } from '../../config/index.js'
import { matcher } from '../credentials/claim.js'

/** What the configuration says of one account. */
export interface Declared {
  /** `undefined`: as its provider says. */
  readonly order: number | undefined
  /** Percent. */
  readonly reserve: number
  readonly concurrency: number
  /** `undefined`: as its provider's settings say. */
  readonly proxy: string | undefined
  readonly group: string | undefined
}

export const NOTHING_DECLARED: Declared = {
  order: undefined,
  reserve: 0,
  concurrency: Infinity,
  proxy: undefined,
  group: undefined,
}

/** The entries of `accounts`, in the order written. */
export type Declarations = readonly {
  readonly pattern: string
  readonly matches: (id: string) => boolean
  readonly entry: AccountEntry
}[]

export function declarations(accounts: ResolvedConfig['accounts'] = {}): Declarations {
  return Object.entries(accounts).map(([pattern, entry]) => ({ pattern, matches: matcher(pattern), entry }))
}

/** All entries that match the account, later ones over earlier ones. */
export function declaredFor(id: string, all: Declarations): Declared {
  const matching = all.filter(({ matches }) => matches(id))
  return matching.reduce((sum, { entry }) => ({ ...sum, ...defined(entry) }), NOTHING_DECLARED)
}

/** The entries that match no account: most likely misspelt. */
export function unmatched(ids: readonly string[], all: Declarations): { file: string; reason: string }[] {
  return all
    .filter(({ matches }) => !ids.some(matches))
    .map(({ pattern }) => ({ file: keyOf(['accounts', pattern]), reason: reasonFor(pattern, ids) }))
}

/** Names in one warning. */
const MOST_NAMES = 20

function reasonFor(pattern: string, ids: readonly string[]): string {
  const what =
    'matches no account: it must be an id, which is a file name without .json, or a pattern for ids'
  const isFile = pattern.endsWith('.json') ? `. Did you mean "${pattern.slice(0, -'.json'.length)}"?` : ''
  if (isFile || ids.length > MOST_NAMES) return what + isFile
  return `${what}. There are: ${ids.join(', ') || 'none'}`
}
