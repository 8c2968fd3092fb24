import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ResolvedConfig } from '../../config/config.js'
import type { Credential, Inspection } from '../../config/provider.js'
import { forget, remember, rememberGiven } from '../../config/secrets.js'
import type { AccountStore, SpentLogins } from './account-store.js'
import { Account } from './account.js'
import { declarations, declaredFor, unmatched } from './declared.js'
import { type Claimant, claimantsOf, claimOf, type Providers } from '../credentials/claim.js'
import { type CredentialRead, isOpenToOthers, readCredential } from '../credentials/credential-file.js'

export interface FoundCredential {
  readonly credential: Credential
  readonly inspection: Inspection
  readonly digest: string
}

export interface SkippedFile {
  readonly file: string
  readonly reason: string
}

/** The store that keeps accounts over a restart. */
export type AccountsStore = Pick<AccountStore, 'savedAccount' | 'spent'>

const IN_MEMORY: AccountsStore = {
  savedAccount: () => undefined,
  spent: { has: () => false, add: () => {} },
}

/** The accounts of the pool, by the files of its folder. An account keeps its state as long as its file exists. */
export class Accounts {
  #accounts = new Map<string, Account>()
  /** By provider, until the next scan: every request asks for those of its own. */
  #byProvider = new Map<string, readonly Account[]>()
  /** Files that are not accounts, and why. */
  skipped: readonly SkippedFile[] = []
  /** Files that are accounts although something is wrong with them, and what. */
  warnings: readonly SkippedFile[] = []
  #scanning: Promise<void> = Promise.resolve()

  constructor(private readonly store: AccountsStore = IN_MEMORY) {}

  all(): Account[] {
    return [...this.#accounts.values()]
  }

  of(provider: string): readonly Account[] {
    const known = this.#byProvider.get(provider)
    if (known) return known
    const accounts = this.all().filter((account) => account.provider === provider)
    this.#byProvider.set(provider, accounts)
    return accounts
  }

  get(key: string): Account | undefined {
    return this.#accounts.get(key)
  }

  /** Reads the folder. One bad file never stops the others. */
  scan(poolDir: string, providers: Providers, declared?: ResolvedConfig['accounts']): Promise<void> {
    // One scan after the other: two at once would each make an account of a new file.
    const scan = this.#scanning.then(() => this.#scan(poolDir, providers, declared))
    this.#scanning = scan.catch(() => {})
    return scan
  }

  /** The values of its credentials are no longer redacted. */
  close(): void {
    for (const account of this.all()) forget(account)
  }

  async #scan(poolDir: string, providers: Providers, declared: ResolvedConfig['accounts'] | undefined) {
    const { found, skipped, warnings } = await this.#find(poolDir, providers)
    if (await isOpenToOthers(poolDir))
      warnings.unshift({ file: poolDir, reason: 'others may put files there or replace them: chmod go-w' })
    const declaring = declarations(declared)
    for (const account of found.values()) account.declare(declaredFor(account.id, declaring))
    warnings.push(
      ...unmatched(
        [...found.values()].map(({ id }) => id),
        declaring,
      ),
    )
    for (const account of found.values()) {
      remember(account, account.credential)
      rememberGiven(account, account.facts)
    }
    for (const [key, account] of this.#accounts) if (found.get(key) !== account) forget(account)
    this.#accounts = found
    this.#byProvider.clear()
    this.skipped = skipped
    this.warnings = warnings
  }

  /** The accounts of the folder's files, by their keys. */
  async #find(poolDir: string, providers: Providers) {
    const found = new Map<string, Account>()
    const logins = new Map<string, Account>()
    const skipped: SkippedFile[] = []
    const warnings: SkippedFile[] = []
    for (const name of await fileNames(poolDir)) {
      const claimants = claimantsOf(name, providers)
      if (claimants.length === 0) {
        if (name.endsWith('.json'))
          skipped.push({ file: name, reason: 'no provider reads files of this name' })
        continue
      }
      const result = await this.#read(join(poolDir, name), name, claimants)
      if (typeof result === 'string') {
        skipped.push({ file: name, reason: result })
        continue
      }
      const { login } = result.account.inspection
      const other = login && logins.get(login)
      if (other) {
        // Two copies of one single-use refresh token: the second refresh would revoke the login.
        skipped.push({ file: name, reason: `is the same login as ${other.id}.json` })
        continue
      }
      if (login) logins.set(login, result.account)
      found.set(result.account.key, result.account)
      if (result.warning) warnings.push({ file: name, reason: result.warning })
    }
    return { found, skipped, warnings }
  }

  async #read(
    file: string,
    name: string,
    claimants: Claimant[],
  ): Promise<{ account: Account; warning?: string } | string> {
    const id = name.replace(/\.json$/, '')
    const known = claimants.map(({ provider }) => this.#accounts.get(`${provider}/${id}`)).find(Boolean)
    const read = await readUnwritten(file, known)
    if ('problem' in read) {
      // A file that another program is rewriting just now must not lose its account.
      return known
        ? { account: known, warning: `${read.problem}; the last good content stays in use` }
        : read.problem
    }
    const claim = claimOf(read.credential, claimants)
    if ('refused' in claim) return claim.refused
    const account = this.#keep(id, claim.provider, file, { ...read, inspection: claim.inspection })
    return read.openToOthers ? { account, warning: 'can be read by others: chmod 600' } : { account }
  }

  #keep(id: string, provider: string, file: string, found: FoundCredential): Account {
    const { credential, inspection, digest } = found
    const known = this.#accounts.get(`${provider}/${id}`)
    if (known?.file === file) {
      // With the same content, only the settings may have changed, and with them the inspection.
      if (known.digest !== digest) adoptFileContent(known, found, this.store.spent)
      else if (!known.unsaved) known.inspection = { ...inspection, expiresAt: known.inspection.expiresAt }
      return known
    }
    const account = new Account(id, provider, file, credential, inspection, digest)
    const saved = this.store.savedAccount(account.key)
    if (saved) account.restore(saved)
    return account
  }
}

/** Reads a file, again if a refresh has replaced it meanwhile. */
async function readUnwritten(file: string, known: Account | undefined): Promise<CredentialRead> {
  for (;;) {
    const before = known?.digest
    const read = await readCredential(file)
    if (known?.digest === before) return read
  }
}

async function fileNames(poolDir: string): Promise<string[]> {
  try {
    return (await readdir(poolDir)).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/**
 * Adopts the changed content of an account's file. An old copy of the account's login, put there by hand or by an
 * editor, is not adopted: its refresh token is spent, and the only good one is in memory.
 */
export function adoptFileContent(account: Account, found: FoundCredential, spent: SpentLogins): void {
  if (!isOldCopy(found.inspection, account, spent))
    return account.replaceCredential(found.credential, found.inspection, found.digest)
  account.sync(found.credential, found.digest)
  account.unsaved = 'an old copy of the login was put there'
}

function isOldCopy({ login, identity }: Inspection, account: Account, spent: SpentLogins): boolean {
  const ours = account.inspection
  if (account.loginNeeded || identity !== ours.identity) return false
  return login !== undefined && spent.has(login) && ours.login !== undefined && !spent.has(ours.login)
}
