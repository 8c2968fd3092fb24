import type {
  AccountState,
  Credential,
  Inspection,
  PoolAccount,
  ProviderAccount,
  Quota,
  Usage,
} from '../../config/provider.js'
import { numberFrom } from '../../config/index.js'
import { redact, rememberNewer } from '../../config/secrets.js'
import type { Candidate } from '../../config/account.js'
import { type Cooldown, Cooldowns, type CooldownVerdict, scopeOf } from './cooldowns.js'
import { type Declared, NOTHING_DECLARED } from './declared.js'
import { type ObservedWindow, type SavedQuota, Windows } from './windows.js'

/** More than any upstream can count for one request: a number beyond it is an error. */
const MOST_TOKENS = 1e12

/** A problem that only the user can repair. */
export interface LoginNeeded {
  readonly reason: string
  /** ms since 1970 */
  readonly since: number
}

export type Shortage = 'reserve' | 'full' | 'credits' | 'forbidden-credits'

/** One credential file and its live state. The state outlives a change of the file's content and a reload. */
export class Account {
  inFlight = 0
  lastUsedAt: number | undefined
  disabled = false
  /** Requests that wait until one more may run. */
  readonly waiting = new Set<() => void>()
  #declared = NOTHING_DECLARED
  /** Why the refreshed credential is not in its file. */
  unsaved: string | undefined
  /** Why the client's own copy of the login still holds the old, spent one. */
  unshared: string | undefined
  /** Whether the client has a copy of the login, and refreshes it as well. */
  copied = false
  facts: Readonly<Record<string, string>> = {}
  /** Whether the facts may be out of date, since the file has changed. */
  factsDoubted = false
  readonly windows = new Windows()
  readonly #cooldowns = new Cooldowns()
  /** The credential that the file held when it was last read or written. */
  written: Credential
  /** All credentials of the login that the account has: each refresh makes a new one. */
  #ofLogin: WeakSet<object>
  #loginNeeded: LoginNeeded | undefined
  /** The last one that {@link Account.candidate} made. */
  #candidate: Candidate | undefined
  /** Unique in the pool. */
  readonly key: string

  constructor(
    /** File name without `.json`. */
    readonly id: string,
    readonly provider: string,
    /** Absolute path of the credential file. */
    readonly file: string,
    public credential: Credential,
    public inspection: Inspection,
    /** Of the file as last read or written by us: our own writes are no changes. */
    public digest: string,
  ) {
    this.key = `${provider}/${id}`
    this.written = credential
    this.#ofLogin = new WeakSet([credential])
  }

  get plan(): string | undefined {
    return this.windows.plan ?? this.inspection.plan
  }

  get declared(): Declared {
    return this.#declared
  }

  declare(declared: Declared): void {
    this.#declared = declared
    // It may allow more requests at once than before.
    this.#wake()
  }

  /** `Infinity`: the account serves only what no other can. */
  get order(): number {
    const { order } = this.inspection
    if (this.declared.order !== undefined) return this.declared.order
    if (order === 'when-needed' || order === 'when-alone') return Infinity
    return typeof order === 'number' && order >= 0 ? order : 1
  }

  /** Whether it serves only if its provider has no other account at all. */
  get onlyAlone(): boolean {
    return this.order === Infinity && this.inspection.order === 'when-alone'
  }

  /** Whether one more request may run on it. */
  get hasRoom(): boolean {
    return this.inFlight < this.declared.concurrency
  }

  #wake(): void {
    // First come, first served: a request that finds no room waits again, behind the same ones as before.
    for (const wake of this.waiting) wake()
  }

  get loginNeeded(): LoginNeeded | undefined {
    return this.#loginNeeded
  }

  /** The reason is shown to many readers, and may come from an upstream or from a provider of the user's own. */
  set loginNeeded(needed: LoginNeeded | undefined) {
    this.#loginNeeded = needed && { ...needed, reason: redact(needed.reason) }
  }

  /** Gives the account the new content of its file: another login, or another version of the same. */
  replaceCredential(credential: Credential, inspection: Inspection, digest: string): void {
    if (isAnotherOwner(inspection, this.inspection)) this.#forget()
    this.#ofLogin = new WeakSet()
    this.factsDoubted = true
    this.refreshCredential(credential, inspection, digest)
  }

  /** Gives the account a new credential of the same login. With a digest, it is what the file holds. */
  refreshCredential(credential: Credential, inspection: Inspection, digest?: string): void {
    this.#ofLogin.add(credential)
    rememberNewer(this, credential)
    this.credential = credential
    this.inspection = inspection
    this.loginNeeded = undefined
    if (digest !== undefined) this.sync(credential, digest)
  }

  /** Whether a credential is of the login that the account has now. A verdict or quota of another login is out of date. */
  holds(credential: object): boolean {
    return this.#ofLogin.has(credential)
  }

  /** The file holds this now, and nothing is left to be written. */
  sync(written: Credential, digest: string): void {
    this.written = written
    this.digest = digest
    this.unsaved = undefined
  }

  /** Drops the limits and facts of an owner whose credential is no longer in the file. */
  #forget(): void {
    this.#cooldowns.clear()
    this.windows.clear()
    this.facts = {}
    this.unshared = undefined
  }

  /** Why it cannot be leased for `model` now. */
  unavailable(model: string | undefined, now: number): AccountState | 'probing' | undefined {
    if (this.disabled) return 'disabled'
    if (this.loginNeeded) return 'needs-login'
    if (this.shortage(model, now) === 'forbidden-credits') return 'exhausted'
    return this.#cooldowns.unavailable(model, now)
  }

  /** Whether a cooldown may be probed although it is not over: see {@link Cooldowns.doubt}. */
  mayBeProbed(model: string | undefined, now: number): boolean {
    const usable = !this.disabled && !this.loginNeeded && this.shortage(model, now) !== 'forbidden-credits'
    return usable && this.#cooldowns.mayBeProbed(model, now)
  }

  /**
   * Why the account is asked only after others of its order, by the fullest window that counts for `model`. `reserve`: what
   * is left of it is to be used last. `full`: it is reported to be full; reports lag, so the account may serve all the
   * same. `credits`: it serves on credits, which are money.
   */
  shortage(model: string | undefined, now: number): Shortage | undefined {
    const { usedPercent = 0 } = this.windows.view(now, model)
    if (usedPercent < 100 - this.declared.reserve) return undefined
    if (usedPercent < 100) return 'reserve'
    if (!this.windows.hasCredits) return 'full'
    const { use = 'last' } = this.windows.credits ?? {}
    return use === 'freely' ? undefined : use === 'last' ? 'credits' : 'forbidden-credits'
  }

  /** Whether it said lately that it cannot serve `model`. */
  refuses(model: string | undefined, now: number): boolean {
    return this.#cooldowns.refuses(model, now)
  }

  /**
   * Takes the account for one attempt. `probes`: whether the attempt can tell that a cooldown is over.
   * @returns ends the lease; a second call does nothing
   */
  lease(model: string | undefined, now: number, probes = true): () => void {
    const endProbe = probes ? this.#cooldowns.probe(model) : () => {}
    this.inFlight++
    this.lastUsedAt = now
    let held = true
    return () => {
      if (!held) return
      held = false
      this.inFlight--
      endProbe()
      this.#wake()
    }
  }

  /**
   * A success ends the cooldowns for this model. An exhaustion whose window is reported to be full ends only by its probe:
   * the success may be of a request that was sent before the refusal.
   */
  succeeded(model: string | undefined, now: number): void {
    const full = this.#fullScopes(now)
    this.#cooldowns.end(
      model,
      (cooldown, scope) =>
        cooldown.kind !== 'exhausted' || !full.has(scope) || this.#cooldowns.wasProbe(cooldown, now),
    )
  }

  /** `longestMs` bounds a cooldown whose length the upstream does not tell. */
  cool(verdict: CooldownVerdict, now: number, longestMs?: number): Cooldown {
    return this.#cooldowns.start(verdict, now, longestMs)
  }

  cancelCooldown(cooldown: Cooldown): void {
    this.#cooldowns.cancel(cooldown)
  }

  /** Lets the upstream be asked again soon: a needed login and cooldowns may be out of date. */
  doubt(): void {
    this.loginNeeded = undefined
    this.#cooldowns.doubt()
  }

  /** A reset credit has emptied the windows. */
  redeemed(): void {
    this.windows.empty()
    this.#cooldowns.clear()
  }

  /** The user says that nothing stands against asking: all that is known of limits is dropped. */
  forgetLimits(): void {
    this.loginNeeded = undefined
    this.factsDoubted = true
    this.#cooldowns.clear()
  }

  /**
   * Quota as an answer or a poll told it. Fresh room ends an exhaustion. A full window does not start one: only a refusal
   * does, since reports lag and upstreams serve beyond them.
   */
  observe(quota: Quota, source: ObservedWindow['source'], now: number): void {
    this.windows.observe(quota, source, now)
    const full = this.#fullScopes(now)
    for (const { usedPercent, model } of quota.windows) {
      const told = scopeOf({ model })
      if (usedPercent === undefined || full.has(told)) continue
      this.#cooldowns.end(model, ({ kind }, scope) => kind === 'exhausted' && scope === told)
    }
  }

  /** Counts a request that has ended, until the next report of quota tells what it has used. */
  count(model: string | undefined, { totalTokens, inputTokens = 0, outputTokens = 0 }: Usage = {}): void {
    this.windows.count(model, numberFrom(totalTokens ?? inputTokens + outputTokens, 0, MOST_TOKENS) ?? 0)
  }

  #fullScopes(now: number): Set<string> {
    return new Set(this.windows.full(now).map(scopeOf))
  }

  state(now: number, model?: string): AccountState {
    if (this.disabled) return 'disabled'
    if (this.loginNeeded) return 'needs-login'
    if (this.shortage(model, now) === 'forbidden-credits') return 'exhausted'
    return (this.#cooldowns.running(model, now)?.kind ?? 'ready') as AccountState
  }

  /** When it can be asked again, for `model`; ms since 1970. `undefined` if now, or only after a login. */
  availableAt(now: number, model?: string): number | undefined {
    return this.#cooldowns.endsAt(model, now)
  }

  /** When its quota comes back, as the upstream told; ms since 1970. */
  resetsAt(now: number, model?: string): number | undefined {
    return this.#cooldowns.resetsAt(model, now) ?? this.windows.full(now, model)[0]?.resetsAt
  }

  cooldowns(): { model: string | undefined; cooldown: Cooldown }[] {
    return this.#cooldowns.all()
  }

  /**
   * The account as a strategy sees it. While nothing changes it is the same object: explanations keep the candidates of
   * many requests, and a copy for each request would fill the memory where a pool has thousands of accounts.
   */
  candidate(model: string | undefined, now: number): Candidate {
    const { id, provider, plan, order, inFlight, lastUsedAt } = this
    const { usedPercent, windows } = this.windows.view(now, model)
    const { group } = this.declared
    const last = this.#candidate
    const isSame =
      last?.windows === windows &&
      last.inFlight === inFlight &&
      last.lastUsedAt === lastUsedAt &&
      last.plan === plan &&
      last.group === group &&
      last.order === order
    if (isSame) return last
    return (this.#candidate = {
      id,
      provider,
      plan,
      group,
      order,
      inFlight,
      usedPercent,
      windows,
      lastUsedAt,
    })
  }

  /** The account as a provider's calls see it. */
  forProvider(): ProviderAccount {
    return { id: this.id, credential: this.credential, inspection: this.inspection, facts: this.facts }
  }

  /** The account as a provider's local answers see it: without its credential. */
  forAnswers(now: number): PoolAccount {
    return {
      id: this.id,
      inspection: this.inspection,
      order: this.order,
      state: this.state(now),
      facts: this.facts,
      quota: this.windows.quota(now),
      availableAt: this.availableAt(now),
    }
  }

  /** The state that is kept over a restart. A needed login is not: after a restart the account is asked again. */
  toJSON(): SavedAccount {
    return {
      cooldowns: this.#cooldowns.toJSON(),
      windows: this.windows.toJSON(),
      facts: this.facts,
      disabled: this.disabled,
      lastUsedAt: this.lastUsedAt,
      digest: this.digest,
    }
  }

  restore(saved: SavedAccount): void {
    this.#cooldowns.restore(saved.cooldowns)
    this.windows.restore(saved.windows)
    this.facts = saved.facts
    this.disabled = saved.disabled
    this.lastUsedAt = saved.lastUsedAt
    this.factsDoubted = saved.digest !== this.digest
  }
}

/** Whether a changed file is another owner's. A key does not tell its owner, so another key is another owner's. */
function isAnotherOwner(now: Inspection, before: Inspection): boolean {
  if (now.kind !== before.kind) return true
  if (now.identity === undefined || before.identity === undefined) return !now.refreshable
  const labels = now.label !== undefined && before.label !== undefined
  return now.identity !== before.identity || (labels && now.label !== before.label)
}

export interface SavedAccount {
  cooldowns: [string, Cooldown][]
  windows: SavedQuota
  facts: Readonly<Record<string, string>>
  disabled: boolean
  lastUsedAt: number | undefined
  /** Of the file. */
  digest?: string | undefined
}

/**
 * Waits until one of these accounts may have room for one more request. Resolves at the latest after `ms`, or at the abort;
 * the caller looks again.
 */
export function roomOn(accounts: readonly Account[], ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      for (const { waiting } of accounts) waiting.delete(done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    for (const { waiting } of accounts) waiting.add(done)
  })
}
