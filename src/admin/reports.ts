import type { AccountState, Credits, QuotaWindow } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { SkippedFile } from '../accounts/accounts.js'
import type { AccountTotals } from '../usage/rollups.js'

/** One account as `/admin/accounts` shows it. Times are ISO 8601. Never a secret. */
export interface AccountReport {
  readonly id: string
  readonly provider: string
  /** The provider's name, under the seed's key. */
  readonly type: string
  readonly kind?: string | undefined
  readonly label?: string | undefined
  readonly plan?: string | undefined
  /** Which accounts of its provider serve first; see {@link useOf}. */
  readonly order: number | 'when-needed' | 'when-alone'
  /** Percent of each window that is given out last. */
  readonly reserve?: number | undefined
  /** Requests that may run at once. */
  readonly concurrency?: number | undefined
  readonly group?: string | undefined
  readonly state: AccountState
  /** Why it is not ready. */
  readonly reason?: string | undefined
  readonly availableAt?: string | undefined
  readonly cooldowns: readonly {
    readonly model?: string | undefined
    readonly kind: string
    readonly reason: string
    readonly since: string
    readonly until: string
    readonly resetsAt?: string | undefined
  }[]
  readonly inFlight: number
  readonly lastUsedAt?: string | undefined
  readonly tokenExpiresAt?: string | undefined
  /** Fullest window; `null` if unknown. */
  readonly usedPercent: number | null
  readonly windows: readonly (Omit<QuotaWindow, 'resetsAt'> & {
    readonly resetsAt?: string | undefined
    readonly source: string
    readonly seenAt: string
  })[]
  readonly usage?: AccountTotals | undefined
  /** Whether it serves on credits: a window of its plan is full. */
  readonly onCredits: boolean
  readonly credits?: Credits | undefined
  /** Reset credits that can be redeemed. */
  readonly resetCredits: readonly { readonly expiresAt?: string | undefined }[]
  /** Why a refreshed login is not in its file. */
  readonly unsaved?: string | undefined
}

export function reportOf(account: Account, totals: AccountTotals | undefined, now: number): AccountReport {
  const { id, provider, inspection, inFlight, lastUsedAt, plan, unsaved, loginNeeded } = account
  const cooldowns = account.cooldowns().filter(({ cooldown }) => cooldown.until > now)
  return {
    id,
    provider,
    type: provider,
    kind: inspection.kind,
    label: inspection.label,
    plan,
    ...useOf(account),
    state: account.state(now),
    reason: loginNeeded?.reason ?? cooldowns.find(({ model }) => model === undefined)?.cooldown.reason,
    availableAt: iso(account.availableAt(now)),
    cooldowns: cooldowns.map(({ model, cooldown: { kind, reason, since, until, resetsAt } }) => ({
      model,
      kind,
      reason,
      since: iso(since)!,
      until: iso(until)!,
      resetsAt: iso(resetsAt),
    })),
    inFlight,
    lastUsedAt: iso(lastUsedAt),
    tokenExpiresAt: iso(inspection.expiresAt),
    usedPercent: account.windows.usedPercent(now) ?? null,
    windows: account.windows.current(now).map(({ since: _since, ...window }) => ({
      ...window,
      resetsAt: iso(window.resetsAt),
      seenAt: iso(window.seenAt)!,
    })),
    onCredits: account.windows.full(now).length > 0 && account.windows.hasCredits,
    credits: account.windows.credits,
    resetCredits: (account.windows.resets ?? []).map(({ expiresAt }) => ({ expiresAt: iso(expiresAt) })),
    usage: totals,
    unsaved,
  }
}

/** How the account is used, as the configuration and its provider say. */
export function useOf({
  order,
  onlyAlone,
  declared,
}: Account): Pick<AccountReport, 'order' | 'reserve' | 'concurrency' | 'group'> {
  const { reserve, concurrency, group } = declared
  return {
    order: order < Infinity ? order : onlyAlone ? 'when-alone' : 'when-needed',
    reserve: reserve || undefined,
    concurrency: concurrency === Infinity ? undefined : concurrency,
    group,
  }
}

function iso(time: number | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString()
}

/** The part of a gateway that the admin endpoints use. */
export interface Administered {
  accounts(): readonly AccountReport[]
  skipped(): readonly SkippedFile[]
  warnings(): readonly SkippedFile[]
  setDisabled(id: string, disabled: boolean): AccountReport | undefined
  retry(id?: string): readonly AccountReport[]
  redeem(id: string): Promise<AccountReport | undefined>
  reload(): Promise<ReloadReport>
}

export interface ReloadReport {
  readonly poolDir: string
  readonly accounts: number
  readonly skipped: readonly SkippedFile[]
  /** Why the running configuration was kept; the accounts were read again all the same. */
  readonly configProblem?: string | undefined
}
