import type { AccountState } from '../../config/provider.js'
import type { OutlookReport, PoolReport } from './reports.js'

/** What people want to know of the pool, for every screen that shows it. Times are ISO 8601. */
export interface PoolView {
  readonly providers: readonly ProviderView[]
  /** Those that need a hand first, then those that cannot serve now, then the ready ones, then the disabled ones. */
  readonly accounts: readonly AccountView[]
  /** Of all providers together, if there are several. */
  readonly outlook?: OutlookReport | undefined
}

/** Whether one provider's accounts can serve, for requests of no special model. */
export interface ProviderView {
  readonly provider: string
  /**
   * `yes`; `perhaps`: the quota is reported as used up, and reports lag; `later`: at `at`, if that is known; `never`: only
   * after a person has done something.
   */
  readonly works: 'yes' | 'perhaps' | 'later' | 'never'
  /** The accounts that serve next, or the one that is back first; for `never`, those that need a hand. */
  readonly on: readonly string[]
  /** When the quota is back, as the upstream has told, or a cooldown ends. */
  readonly at?: string | undefined
  /** When the account is asked again, although its quota may be used up. */
  readonly lookAt?: string | undefined
  /** What to know beside that. */
  readonly because?: 'credits' | 'busy' | 'needs-login' | 'disabled' | undefined
  /** What helps where a person has to do something. */
  readonly command?: string | undefined
  /** Models that none of the accounts that could serve can serve now. */
  readonly without: readonly { readonly model: string; readonly at?: string | undefined }[]
  /** Of several accounts together. */
  readonly outlook?: OutlookReport | undefined
}

/** One account. Numbers are those of its report. */
export interface AccountView {
  readonly id: string
  readonly provider: string
  readonly plan?: string | undefined
  readonly state: AccountState
  /** Whether a person has to do something. */
  readonly needsHand: boolean
  /** When it serves again, if it does not serve now. */
  readonly at?: string | undefined
  readonly windows: readonly WindowView[]
  /** Windows that count one model each, the fullest first. */
  readonly modelWindows: readonly WindowView[]
  readonly problems: readonly ProblemView[]
  /** In full. */
  readonly reason?: string | undefined
  /** Of the oldest report of a window. */
  readonly asOf?: string | undefined
}

export interface WindowView {
  /** `5 h`, `7 d`, `30 d`; of unknown length: the upstream's name for it, or nothing for a model's. */
  readonly label: string
  readonly model?: string | undefined
  readonly usedPercent?: number | undefined
  /** What would be used by now at an even pace. */
  readonly expectedPercent?: number | undefined
  readonly resetsAt?: string | undefined
  /** What is to be expected of it; absent where too little is known. */
  readonly outlook?: OutlookReport | undefined
}

/** A short sentence, to which `at` belongs, and the command that mends it. */
export interface ProblemView {
  readonly text: string
  readonly at?: string | undefined
  readonly command?: string | undefined
  /** The beginning of the reason, where the command alone may not help. */
  readonly why?: string | undefined
}

type Reported = PoolReport['accounts'][number]

export function poolView(
  { accounts, forecast }: Pick<PoolReport, 'accounts' | 'forecast'>,
  now: number,
): PoolView {
  const providers = [...new Set(accounts.map(({ provider }) => provider))]
  return {
    providers: providers.map((name) => {
      const members = accounts.filter(({ provider }) => provider === name)
      const outlook = forecast.providers[name]
      return { ...providerView(name, members), outlook: outlook?.accounts === 1 ? undefined : outlook }
    }),
    accounts: accounts
      .map((report) => accountView(report, now))
      .toSorted((a, b) => urgency(a) - urgency(b) || timeOf(a.at) - timeOf(b.at) || (a.id < b.id ? -1 : 1)),
    outlook: providers.length > 1 ? forecast.pool : undefined,
  }
}

function urgency({ needsHand, state }: AccountView): number {
  return needsHand ? 0 : ['cooling', 'exhausted', 'needs-login', 'ready', 'disabled'].indexOf(state) + 1
}

const timeOf = (iso: string | undefined): number => (iso === undefined ? Infinity : Date.parse(iso))

export function accountView(report: Reported, now: number): AccountView {
  const { id, provider, plan, state, reason, cooldowns, forecast = [] } = report
  const windows = report.windows.map((window) => {
    const { name, model, usedPercent, lengthMinutes, resetsAt } = window
    const outlook = forecast.find((one) => one.window === name && one.model === model)
    const expectedPercent = expected(lengthMinutes, resetsAt, now)
    const label = labelOf(lengthMinutes) ?? (model === undefined ? name : '')
    return { label, model, usedPercent, expectedPercent, resetsAt, outlook }
  })
  const ofModels = cooldowns.flatMap(({ model, reason }) =>
    model === undefined ? [] : [`${model}: ${reason}`],
  )
  const seen = report.windows.map(({ seenAt }) => seenAt).toSorted()
  const problems = problemsOf(report, windows)
  return {
    id,
    provider,
    plan: plan ?? report.kind,
    state,
    needsHand: needsHand(report),
    at: backAt(report),
    windows: windows.filter(({ model }) => model === undefined),
    modelWindows: windows
      .filter(({ model }) => model !== undefined)
      .toSorted((a, b) => (b.usedPercent ?? -1) - (a.usedPercent ?? -1)),
    problems,
    reason: [reason, ...ofModels].filter(Boolean).join('; ') || undefined,
    asOf: seen[0],
  }
}

const MINUTES_OF = { d: 24 * 60, h: 60 } as const

function labelOf(minutes: number | undefined): string | undefined {
  if (!minutes) return undefined
  if (minutes >= 2 * MINUTES_OF.d) return `${Math.round(minutes / MINUTES_OF.d)} d`
  return minutes >= MINUTES_OF.h ? `${Math.round(minutes / MINUTES_OF.h)} h` : `${minutes} min`
}

/** The share of a window's time that has passed; percent. */
function expected(
  lengthMinutes: number | undefined,
  resetsAt: string | undefined,
  now: number,
): number | undefined {
  if (!lengthMinutes || resetsAt === undefined) return undefined
  const left = (Date.parse(resetsAt) - now) / (lengthMinutes * 60_000)
  return Math.min(100, Math.max(0, (1 - left) * 100))
}

/** A quota or a cooldown comes back by itself; a login, a plan or a payment that has ended, and a disk, do not. */
function needsHand(report: Reported): boolean {
  const { state, unsaved } = report
  const ended = state === 'exhausted' && backAt(report) === undefined && ownCooldown(report) !== undefined
  return state === 'needs-login' || ended || (unsaved !== undefined && state !== 'disabled')
}

/** The cooldown that counts every model. */
function ownCooldown({ cooldowns }: Reported): Reported['cooldowns'][number] | undefined {
  return cooldowns.find(({ model, kind }) => model === undefined && kind !== 'refused')
}

/** When an account that cannot serve now can serve again, as far as that is known. */
function backAt(report: Reported): string | undefined {
  if (report.state === 'cooling') return ownCooldown(report)?.until ?? report.availableAt
  // The limit that was hit tells its own end: another window may be fuller, and end later.
  if (report.state === 'exhausted') return ownCooldown(report)?.resetsAt ?? report.resetsAt
  return undefined
}

/** When the quota of a ready account is said to come back. It is asked all the same, since reports lag. */
function doubtedUntil(report: Reported): { readonly at: string | undefined } | undefined {
  const { state, onCredits, resetsAt, windows } = report
  if (state !== 'ready' || onCredits) return undefined
  const full = windows.filter(({ usedPercent = 0 }) => usedPercent >= 100)
  const counted = windows.some(({ model }) => model === undefined)
    ? full.filter(({ model }) => model === undefined)
    : full.length === windows.length
      ? full
      : []
  if (counted.length > 0)
    return {
      at: counted
        .map((window) => window.resetsAt)
        .toSorted()
        .at(-1),
    }
  const ofModel = full.some((window) => window.resetsAt === resetsAt)
  return resetsAt === undefined || ofModel ? undefined : { at: resetsAt }
}

function problemsOf(report: Reported, windows: readonly WindowView[]): ProblemView[] {
  const { id, state, unsaved, onCredits, reason = '' } = report
  const problems: ProblemView[] = []
  const doubted = doubtedUntil(report)
  if (state === 'needs-login') problems.push(loginProblem(report))
  else if (needsHand(report) && state === 'exhausted')
    problems.push({ text: `is not served: ${firstWords(reason)}`, command: `codex-pool accounts ${id}` })
  else if (state === 'exhausted') problems.push({ text: 'used up until', at: backAt(report) })
  else if (state === 'cooling')
    problems.push({ text: `${firstWords(reason)}: rests until`, at: backAt(report) })
  else if (doubted) problems.push({ text: 'asked all the same, but reported as used up until', ...doubted })
  if (state === 'ready' && onCredits) problems.push({ text: 'its plan is used up: it serves on credits' })
  if (unsaved !== undefined)
    problems.push({ text: `its new login is not in its file: ${firstWords(unsaved)}` })
  problems.push(...modelProblems(report))
  if (state !== 'ready' || doubted || onCredits) return problems
  for (const { label, model, outlook } of windows)
    if (outlook?.runsDryAt !== undefined)
      problems.push({
        text: `${model === undefined ? '' : `${model}, `}${label}: runs dry at`,
        at: outlook.runsDryAt,
      })
  return problems
}

function loginProblem({ provider, refreshable, reason = '' }: Reported): ProblemView {
  if (!refreshable) return { text: 'its credential is refused: put a good one into its file' }
  return { text: 'needs a new login', command: `codex-pool login ${provider}`, why: firstWords(reason) }
}

/** What is out for one model. That a model is not served at all is no news after the first time. */
function modelProblems({ cooldowns }: Reported): ProblemView[] {
  const out = cooldowns.filter(({ model, kind }) => model !== undefined && kind !== 'refused')
  return out.map(({ model, kind, until, resetsAt }) => ({
    text: `${model} ${kind === 'exhausted' ? 'used up' : 'rests'} until`,
    at: kind === 'exhausted' ? (resetsAt ?? until) : until,
  }))
}

/** Characters. */
const SHORT = 40

/** The beginning of a reason: upstreams send whole paragraphs. */
function firstWords(reason: string): string {
  const [sentence = ''] = reason.split(/(?<=\w)[.;](?:\s|$)|\n/, 1)
  return sentence.length > SHORT
    ? `${sentence.slice(0, SHORT - 1).trimEnd()}…`
    : sentence || 'no reason is known'
}

function providerView(provider: string, all: readonly Reported[]): ProviderView {
  const members = all.filter(({ order }) => typeof order === 'number')
  // The others serve only what none of these can.
  const able = members.length > 0 ? members : all
  const ready = able.filter(({ state }) => state === 'ready')
  return ready.length > 0 ? serving(provider, ready) : waiting(provider, able)
}

function serving(provider: string, ready: readonly Reported[]): ProviderView {
  const roomy = ready.filter(hasRoom)
  const next = least(
    least(roomy.length > 0 ? roomy : ready, ({ order }) => (typeof order === 'number' ? order : 0)),
    shortageRank,
  )
  const rank = shortageRank(next[0]!)
  const ids = next.map(({ id }) => id)
  const told = { provider, on: ids, without: missingModels(ready) }
  const doubts = next.map((report) => doubtedUntil(report)?.at)
  if (rank === DOUBTED) return { ...told, works: 'perhaps', at: earliest(doubts) }
  const because = rank === ON_CREDITS ? 'credits' : roomy.length === 0 ? 'busy' : undefined
  return { ...told, works: 'yes', because }
}

const hasRoom = ({ inFlight, concurrency = Infinity }: Reported): boolean => inFlight < concurrency

const [DOUBTED, ON_CREDITS] = [2, 3]

/** As the selection ranks accounts of one order. */
function shortageRank(report: Reported): number {
  if (report.onCredits) return report.credits?.use === 'freely' ? 0 : ON_CREDITS
  if (doubtedUntil(report)) return DOUBTED
  const common = report.windows.filter(({ model }) => model === undefined)
  const used = Math.max(0, ...common.map(({ usedPercent = 0 }) => usedPercent))
  return report.reserve !== undefined && used >= 100 - report.reserve ? 1 : 0
}

/** Models that every ready account is out for. */
function missingModels(ready: readonly Reported[]): ProviderView['without'] {
  const out = ready.map(modelProblemsByName)
  const [first = new Map<string, string>(), ...others] = out
  return [...first.keys()]
    .filter((model) => others.every((names) => names.has(model)))
    .map((model) => ({ model, at: earliest(out.map((names) => names.get(model))) }))
}

function modelProblemsByName({ cooldowns }: Reported): Map<string, string> {
  return new Map(
    cooldowns.flatMap(({ model, kind, until, resetsAt }) =>
      model === undefined || kind === 'refused' ? [] : [[model, resetsAt ?? until] as const],
    ),
  )
}

/** No account is ready. */
function waiting(provider: string, able: readonly Reported[]): ProviderView {
  type Told = Pick<ProviderView, 'at' | 'lookAt' | 'because' | 'command'>
  const view = (works: ProviderView['works'], on: readonly Reported[], told: Told = {}): ProviderView => ({
    provider,
    works,
    on: on.map(({ id }) => id),
    without: [],
    ...told,
  })
  const at = earliest(able.map(backAt))
  if (at !== undefined)
    return view(
      'later',
      able.filter((report) => backAt(report) === at),
      { at },
    )
  const lookAt = earliest(able.map(lookedAt))
  if (lookAt !== undefined)
    return view(
      'later',
      able.filter((report) => lookedAt(report) === lookAt),
      { lookAt },
    )
  const ended = able.filter(({ state }) => state === 'needs-login')
  if (ended.length > 0)
    return view('never', ended, { because: 'needs-login', command: loginProblem(ended[0]!).command })
  const enabled = able.filter(({ state }) => state !== 'disabled')
  if (enabled.length > 0) return view('later', enabled)
  return view('never', able, { because: 'disabled', command: `codex-pool enable ${able[0]!.id}` })
}

/** When an exhausted account is asked again, whether its quota is back or not. */
function lookedAt({ state, availableAt }: Reported): string | undefined {
  return state === 'exhausted' ? availableAt : undefined
}

function earliest(times: readonly (string | undefined)[]): string | undefined {
  return times.filter((time) => time !== undefined).toSorted()[0]
}

function least<T>(items: readonly T[], rank: (item: T) => number): T[] {
  const lowest = Math.min(...items.map(rank))
  return items.filter((item) => rank(item) === lowest)
}
