import { redact } from '../../config/secrets.js'
import type {
  AccountState,
  Credential,
  Inspection,
  PoolAccount,
  ProviderAccount,
  Quota,
  Verdict,
} from '../../config/provider.js'
import type { Candidate } from '../../config/account.js'
import { cooldownAfter, type Cooldown } from './cooldown.js'
import { type ObservedWindow, type SavedQuota, Windows } from './windows.js'

/** Cooldowns are kept per model; this key is the account as a whole. */
const WHOLE = ''
const scopeOf = ({ model }: { readonly model?: string | undefined }): string => model ?? WHOLE

/** A problem that only the user can repair. */
export interface LoginNeeded {
  readonly reason: string
  readonly since: number
}

/** One credential file and its live state. The state outlives a change of the file's content and a reload. */
export class Account {
  inFlight = 0
  lastUsedAt: number | undefined
  disabled = false
  /** Why the renewed credential is not in its file. */
  unsaved: string | undefined
  /** Why the client's own copy of the login still holds the old, spent one. */
  unshared: string | undefined
  facts: Readonly<Record<string, string>> = {}
  readonly windows = new Windows()
  /** What the file held when it was last read or written. */
  written: Credential
  #loginNeeded: LoginNeeded | undefined
  #cooldowns = new Map<string, Cooldown>()
  #probing = new Set<string>()

  constructor(
    /** File name without `.json`. */
    readonly id: string,
    readonly provider: string,
    /** Absolute path of the credential file. */
    readonly file: string,
    public credential: Credential,
    public inspection: Inspection,
    /** Of the file as last read or written by us, so that our own writes are no news. */
    public digest: string,
  ) {
    this.written = credential
  }

  /** Unique in the pool. */
  get key(): string {
    return `${this.provider}/${this.id}`
  }

  get loginNeeded(): LoginNeeded | undefined {
    return this.#loginNeeded
  }

  /** The reason is shown to many, and may be the words of an upstream or of a provider of the user's own. */
  set loginNeeded(needed: LoginNeeded | undefined) {
    this.#loginNeeded = needed && { ...needed, reason: redact(needed.reason) }
  }

  /** A new credential: what was wrong with the old one no longer counts. With a digest it is what the file holds. */
  replaceCredential(credential: Credential, inspection: Inspection, digest?: string): void {
    if (isSomebodyElse(inspection, this.inspection)) this.#forget()
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

  /** Limits and facts of somebody whose credential is no longer here. */
  #forget(): void {
    this.#cooldowns.clear()
    this.#probing.clear()
    this.windows.clear()
    this.facts = {}
    this.unshared = undefined
  }

  /** Why it cannot be leased for `model` now. A rest that is over admits one probe at a time. */
  unavailable(model: string | undefined, now: number): AccountState | 'probing' | undefined {
    if (this.disabled) return 'disabled'
    if (this.loginNeeded) return 'needs-login'
    for (const [scope, cooldown] of this.#cooldownsFor(model)) {
      // A model that was refused is offered again when nobody else can serve it: the client then hears why.
      if (cooldown.kind === 'refused') continue
      if (cooldown.until > now) return cooldown.kind
      if (this.#probing.has(scope)) return 'probing'
    }
    return undefined
  }

  /** Whether it said lately that it cannot serve `model`. */
  refuses(model: string | undefined, now: number): boolean {
    return this.#cooldownsFor(model).some(
      ([, cooldown]) => cooldown.kind === 'refused' && cooldown.until > now,
    )
  }

  /** Takes the account for one attempt; call the function returned once the attempt is over, as often as you like. */
  lease(model: string | undefined, now: number): () => void {
    const probed = this.#cooldownsFor(model).map(([scope]) => scope)
    for (const scope of probed) this.#probing.add(scope)
    this.inFlight++
    this.lastUsedAt = now
    let held = true
    return () => {
      if (!held) return
      held = false
      this.inFlight--
      for (const scope of probed) this.#probing.delete(scope)
    }
  }

  /** A success: it can serve, for this model, unless that has just filled its window. */
  succeeded(model: string | undefined, now: number): void {
    const full = this.#fullScopes(now)
    for (const [scope, { kind }] of this.#cooldownsFor(model))
      if (kind !== 'exhausted' || !full.has(scope)) this.#cooldowns.delete(scope)
  }

  rest(verdict: Extract<Verdict, { kind: 'cooling' | 'exhausted' | 'refused' }>, now: number): Cooldown {
    const scope = scopeOf(verdict)
    const before = this.#cooldowns.get(scope)
    // Models are the client's to name: what it asked for in vain is not kept for ever.
    for (const [model, { kind, until }] of this.#cooldowns)
      if (kind === 'refused' && until <= now) this.#cooldowns.delete(model)
    const cooldown = cooldownAfter({ ...verdict, reason: redact(verdict.reason) }, before, now)
    this.#cooldowns.set(scope, cooldown)
    return cooldown
  }

  /** Quota as an answer or a poll told it: a full window exhausts the account, fresh room ends an exhaustion. */
  observe(quota: Quota, source: ObservedWindow['source'], now: number): void {
    this.windows.observe(quota, source, now)
    for (const { name, model, resetsAt } of this.windows.full(now)) {
      const known = this.#cooldowns.get(model ?? WHOLE)
      if (known?.kind === 'exhausted' && known.until > now) continue
      this.rest({ kind: 'exhausted', reason: `window ${name} is full`, resetsAt, model }, now)
    }
    const full = this.#fullScopes(now)
    const told = quota.windows.filter(({ usedPercent }) => usedPercent !== undefined)
    for (const scope of told.map(scopeOf))
      if (!full.has(scope) && this.#cooldowns.get(scope)?.kind === 'exhausted') this.#cooldowns.delete(scope)
  }

  #fullScopes(now: number): Set<string> {
    return new Set(this.windows.full(now).map(scopeOf))
  }

  state(now: number, model?: string): AccountState {
    if (this.disabled) return 'disabled'
    if (this.loginNeeded) return 'needs-login'
    const resting = this.#cooldownsFor(model).find(([, { kind, until }]) => kind !== 'refused' && until > now)
    return resting ? (resting[1].kind as AccountState) : 'ready'
  }

  /** When it can be asked again, for `model`; ms since 1970. `undefined` if now, or only after a login. */
  availableAt(now: number, model?: string): number | undefined {
    const ends = this.#cooldownsFor(model).flatMap(([, { kind, until }]) =>
      kind !== 'refused' && until > now ? until : [],
    )
    return ends.length > 0 ? Math.max(...ends) : undefined
  }

  /** When its quota comes back, as the upstream told; ms since 1970. */
  resetsAt(now: number, model?: string): number | undefined {
    const resets = this.#cooldownsFor(model).flatMap(([, { resetsAt }]) => resetsAt ?? [])
    const latest = Math.max(...resets)
    return latest > now && Number.isFinite(latest) ? latest : undefined
  }

  #cooldownsFor(model: string | undefined): [string, Cooldown][] {
    const scopes = model === undefined ? [WHOLE] : [WHOLE, model]
    return scopes.flatMap((scope) => {
      const cooldown = this.#cooldowns.get(scope)
      return cooldown ? [[scope, cooldown] as [string, Cooldown]] : []
    })
  }

  /** What a strategy sees. */
  candidate(model: string | undefined, now: number): Candidate {
    return {
      id: this.id,
      provider: this.provider,
      plan: this.plan,
      inFlight: this.inFlight,
      usedPercent: this.windows.usedPercent(now, model),
      windows: this.windows.current(now, model),
      lastUsedAt: this.lastUsedAt,
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

  get plan(): string | undefined {
    return this.windows.plan ?? this.inspection.plan
  }

  cooldowns(): { model: string | undefined; cooldown: Cooldown }[] {
    return [...this.#cooldowns].map(([scope, cooldown]) => ({ model: scope || undefined, cooldown }))
  }

  /** What a restart must not forget. */
  toJSON(): SavedAccount {
    return {
      cooldowns: [...this.#cooldowns],
      windows: this.windows.toJSON(),
      facts: this.facts,
      disabled: this.disabled,
      lastUsedAt: this.lastUsedAt,
      loginNeeded: this.loginNeeded && { ...this.loginNeeded, digest: this.digest },
    }
  }

  restore(saved: SavedAccount): void {
    this.#cooldowns = new Map(saved.cooldowns)
    this.windows.restore(saved.windows)
    this.facts = saved.facts
    this.disabled = saved.disabled
    this.lastUsedAt = saved.lastUsedAt
    // A changed file is the user's answer to it.
    if (saved.loginNeeded?.digest === this.digest) this.loginNeeded = saved.loginNeeded
  }
}

/** Whether a file that has changed is another account's. A key says nothing about its owner: another one is another account. */
function isSomebodyElse(now: Inspection, before: Inspection): boolean {
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
