import type {
  AccountState,
  Credential,
  Inspection,
  PoolAccount,
  ProviderAccount,
  Quota,
} from '../../config/provider.js'
import { redact } from '../../config/secrets.js'
import type { Candidate } from '../../config/account.js'
import { type Cooldown, Cooldowns, type CooldownVerdict, scopeOf } from './cooldowns.js'
import { type ObservedWindow, type SavedQuota, Windows } from './windows.js'

/** A problem that only the user can repair. */
export interface LoginNeeded {
  readonly reason: string
  /** ms since 1970 */
  readonly since: number
}

/** One credential file and its live state. The state outlives a change of the file's content and a reload. */
export class Account {
  inFlight = 0
  lastUsedAt: number | undefined
  disabled = false
  /** Why the refreshed credential is not in its file. */
  unsaved: string | undefined
  /** Why the client's own copy of the login still holds the old, spent one. */
  unshared: string | undefined
  facts: Readonly<Record<string, string>> = {}
  readonly windows = new Windows()
  readonly #cooldowns = new Cooldowns()
  /** What the file held when it was last read or written. */
  written: Credential
  #loginNeeded: LoginNeeded | undefined

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
    this.written = credential
  }

  /** Unique in the pool. */
  get key(): string {
    return `${this.provider}/${this.id}`
  }

  get plan(): string | undefined {
    return this.windows.plan ?? this.inspection.plan
  }

  get loginNeeded(): LoginNeeded | undefined {
    return this.#loginNeeded
  }

  /** The reason is shown to many readers, and may come from an upstream or from a provider of the user's own. */
  set loginNeeded(needed: LoginNeeded | undefined) {
    this.#loginNeeded = needed && { ...needed, reason: redact(needed.reason) }
  }

  /** Gives the account a new credential. With a digest, it is what the file holds. */
  replaceCredential(credential: Credential, inspection: Inspection, digest?: string): void {
    if (isAnotherOwner(inspection, this.inspection)) this.#forget()
    this.credential = credential
    this.inspection = inspection
    this.loginNeeded = undefined
    if (digest !== undefined) this.sync(credential, digest)
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
    return this.#cooldowns.unavailable(model, now)
  }

  /** Whether it said lately that it cannot serve `model`. */
  refuses(model: string | undefined, now: number): boolean {
    return this.#cooldowns.refuses(model, now)
  }

  /** Takes the account for one attempt. @returns ends the lease; a second call does nothing */
  lease(model: string | undefined, now: number): () => void {
    const endProbe = this.#cooldowns.probe(model)
    this.inFlight++
    this.lastUsedAt = now
    let held = true
    return () => {
      if (!held) return
      held = false
      this.inFlight--
      endProbe()
    }
  }

  /** A success ends the cooldowns for this model, but for an exhaustion whose window is reported to be full. */
  succeeded(model: string | undefined, now: number): void {
    const full = this.#fullScopes(now)
    this.#cooldowns.end(model, ({ kind }, scope) => kind !== 'exhausted' || !full.has(scope))
  }

  cool(verdict: CooldownVerdict, now: number): Cooldown {
    return this.#cooldowns.start(verdict, now)
  }

  /** Quota as an answer or a poll told it: a full window exhausts the account, fresh room ends an exhaustion. */
  observe(quota: Quota, source: ObservedWindow['source'], now: number): void {
    this.windows.observe(quota, source, now)
    for (const { name, model, resetsAt } of this.windows.full(now)) {
      const known = this.#cooldowns
        .all()
        .find(({ model: scope, cooldown }) => scope === model && cooldown.until > now)
      if (known?.cooldown.kind !== 'exhausted')
        this.cool({ kind: 'exhausted', reason: `window ${name} is full`, resetsAt, model }, now)
    }
    const full = this.#fullScopes(now)
    for (const { usedPercent, model } of quota.windows)
      if (usedPercent !== undefined)
        this.#cooldowns.end(
          model,
          ({ kind }, scope) => kind === 'exhausted' && scope === scopeOf({ model }) && !full.has(scope),
        )
  }

  #fullScopes(now: number): Set<string> {
    return new Set(this.windows.full(now).map(scopeOf))
  }

  state(now: number, model?: string): AccountState {
    if (this.disabled) return 'disabled'
    if (this.loginNeeded) return 'needs-login'
    return (this.#cooldowns.running(model, now)?.kind ?? 'ready') as AccountState
  }

  /** When it can be asked again, for `model`; ms since 1970. `undefined` if now, or only after a login. */
  availableAt(now: number, model?: string): number | undefined {
    return this.#cooldowns.endsAt(model, now)
  }

  /** When its quota comes back, as the upstream told; ms since 1970. */
  resetsAt(now: number, model?: string): number | undefined {
    return this.#cooldowns.resetsAt(model, now)
  }

  cooldowns(): { model: string | undefined; cooldown: Cooldown }[] {
    return this.#cooldowns.all()
  }

  /** What a strategy sees. */
  candidate(model: string | undefined, now: number): Candidate {
    const { id, provider, plan, inFlight, lastUsedAt } = this
    const usedPercent = this.windows.usedPercent(now, model)
    return {
      id,
      provider,
      plan,
      inFlight,
      usedPercent,
      windows: this.windows.current(now, model),
      lastUsedAt,
    }
  }

  /** What a provider's calls see. */
  forProvider(): ProviderAccount {
    return { id: this.id, credential: this.credential, inspection: this.inspection, facts: this.facts }
  }

  /** What a provider's local answers see: no credential. */
  forAnswers(now: number): PoolAccount {
    return {
      id: this.id,
      inspection: this.inspection,
      state: this.state(now),
      facts: this.facts,
      quota: this.windows.quota(now),
      availableAt: this.availableAt(now),
    }
  }

  /** What is kept over a restart. */
  toJSON(): SavedAccount {
    return {
      cooldowns: this.#cooldowns.toJSON(),
      windows: this.windows.toJSON(),
      facts: this.facts,
      disabled: this.disabled,
      lastUsedAt: this.lastUsedAt,
      loginNeeded: this.loginNeeded && { ...this.loginNeeded, digest: this.digest },
    }
  }

  restore(saved: SavedAccount): void {
    this.#cooldowns.restore(saved.cooldowns)
    this.windows.restore(saved.windows)
    this.facts = saved.facts
    this.disabled = saved.disabled
    this.lastUsedAt = saved.lastUsedAt
    // If the file has changed meanwhile, the user has probably logged in.
    if (saved.loginNeeded?.digest === this.digest) this.loginNeeded = saved.loginNeeded
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
  loginNeeded?: (LoginNeeded & { digest: string }) | undefined
}
