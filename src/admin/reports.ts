import type { AccountState, Credits, QuotaWindow } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { SkippedFile } from '../accounts/accounts.js'
import type { Forecast, Outlook } from '../usage/forecast.js'
import type { Grouping, UsageRow } from '../usage/report.js'
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
  /** Percent of each window that is used last. */
  readonly reserve?: number | undefined
  /** Requests that may run at once. */
  readonly concurrency?: number | undefined
  readonly group?: string | undefined
  readonly state: AccountState
  /** Why it is not ready. */
  readonly reason?: string | undefined
  readonly availableAt?: string | undefined
  /** When its quota comes back, as the upstream has told. The account is asked before that, every 15 minutes at the latest. */
  readonly resetsAt?: string | undefined
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
  /** Whether its login can be refreshed; a key or a token that has ended is replaced by hand. */
  readonly refreshable: boolean
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
    resetsAt: iso(account.resetsAt(now)),
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
    refreshable: inspection.refreshable ?? false,
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

/** What is to be expected of one window, or of the longest windows of several accounts. Percent are of all of it. */
export interface OutlookReport {
  readonly window?: string | undefined
  readonly model?: string | undefined
  /** How many accounts it speaks of. */
  readonly accounts?: number | undefined
  readonly percentPerHour: number
  /** Absent if some is left at the reset. */
  readonly runsDryAt?: string | undefined
  /** What the reset is expected to find unused. */
  readonly unusedPercent?: number | undefined
  readonly resetsAt: string
  /** When the quota was reported on which this rests. */
  readonly asOf: string
}

function outlookReport(
  outlook: Outlook & Pick<OutlookReport, 'window' | 'model' | 'accounts'>,
): OutlookReport {
  const { window, model, accounts, percentPerHour, runsDryAt, unusedPercent, resetsAt, seenAt } = outlook
  return {
    window,
    model,
    accounts,
    percentPerHour: Math.round(percentPerHour * 100) / 100,
    runsDryAt: iso(runsDryAt),
    unusedPercent: unusedPercent === undefined ? undefined : Math.round(unusedPercent),
    resetsAt: iso(resetsAt)!,
    asOf: iso(seenAt)!,
  }
}

/** What `/admin/accounts` answers. A forecast is absent where too little is known. */
export interface PoolReport {
  readonly accounts: readonly (AccountReport & { readonly forecast?: readonly OutlookReport[] | undefined })[]
  readonly forecast: {
    readonly providers: Readonly<Record<string, OutlookReport>>
    readonly pool?: OutlookReport | undefined
  }
  readonly skipped: readonly SkippedFile[]
  readonly warnings: readonly SkippedFile[]
}

export function poolReport(gateway: Administered): PoolReport {
  const { accounts, providers, pool } = gateway.forecast()
  const ofProviders = [...providers].map(([name, outlook]) => [name, outlookReport(outlook)])
  return {
    accounts: gateway
      .accounts()
      .map((account) => ({ ...account, forecast: accounts.get(account.id)?.map(outlookReport) })),
    forecast: { providers: Object.fromEntries(ofProviders), pool: pool && outlookReport(pool) },
    skipped: gateway.skipped(),
    warnings: gateway.warnings(),
  }
}

/** The part of a gateway that the admin endpoints use. */
export interface Administered {
  accounts(): readonly AccountReport[]
  forecast(): Forecast
  usage(by: Grouping, since: number): readonly UsageRow[]
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
