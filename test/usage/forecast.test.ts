import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forecast, type ForecastAccount, type SeenWindow, type Outlook } from '../../src/usage/forecast.js'
import type { Rollup } from '../../src/usage/rollups.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const WEEK = 7 * DAY
/** A Monday, at midnight here. */
const START = new Date(2026, 10, 2).getTime()

/** Numbers below 1, the same in every run. */
function chance(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return seed / 0x8000_0000
  }
}

type Demand = (time: number, random: () => number) => number

const hourAt = (time: number): number => new Date(time).getHours()
const isWeekend = (time: number): boolean => [0, 6].includes(new Date(time).getDay())

/** Tokens that are wanted in ten minutes. */
const demands: Record<string, Demand> = {
  steady: (_, random) => 500 + 1000 * random(),
  'office hours': (time, random) =>
    !isWeekend(time) && hourAt(time) >= 9 && hourAt(time) < 18 ? 3000 * random() : 0,
  'evenings and weekends': (time, random) =>
    isWeekend(time) || hourAt(time) >= 19 ? 1500 * random() : 200 * random(),
  'a batch each night': (time, random) => (hourAt(time) < 3 ? 8000 + 2000 * random() : 300 * random()),
  'single large tasks': (time, random) =>
    hourAt(time) >= 8 && hourAt(time) < 23 && random() < 0.35 ? 10_000 * random() : 0,
  growing: (time, random) => (1 + (time - START) / (3 * WEEK)) * 1500 * random(),
}

interface Moment {
  readonly now: number
  readonly account: ForecastAccount
  readonly rollups: readonly Rollup[]
  /** When the window of this moment ran dry. */
  readonly dryAt: number | undefined
  /** Percent left when it was reset. */
  readonly unused: number
}

/** Four weeks of an account whose window holds `share` of a week's demand, looked at now and then. */
function* weeks(demand: Demand, share: number, lengthMs: number, random: () => number): Generator<Moment> {
  const step = 10 * 60_000
  const wanted = Array.from({ length: (4 * WEEK) / step }, (_, index) => demand(START + index * step, random))
  const whole = (wanted.reduce((sum, one) => sum + one, 0) / 4) * (lengthMs / WEEK) * share
  const rollups = new Map<number, Rollup>()
  let pending: Omit<Moment, 'dryAt' | 'unused'>[] = []
  let [used, dryAt, resetsAt]: [number, number | undefined, number] = [0, undefined, START + lengthMs]
  for (const [index, tokens] of wanted.entries()) {
    const now = START + index * step
    if (now >= resetsAt) {
      for (const moment of pending)
        yield { ...moment, dryAt, unused: Math.max(0, 100 - (used / whole) * 100) }
      ;[pending, used, dryAt, resetsAt] = [[], 0, undefined, resetsAt + lengthMs]
    }
    const served = dryAt === undefined ? tokens : 0
    used += served
    // The first week shows the whole demand.
    if (used >= whole && now >= START + WEEK) dryAt ??= now
    const hour = Math.floor(now / HOUR) * HOUR
    const before = rollups.get(hour)
    if (served > 0) rollups.set(hour, rollup(hour, (before?.totalTokens ?? 0) + served))
    if (dryAt !== undefined || now < START + WEEK || random() > 0.03) continue
    const window = {
      name: 'secondary',
      lengthMinutes: lengthMs / 60_000,
      usedPercent: Math.round((used / whole) * 100),
      resetsAt,
      seenAt: now,
    }
    const account = { id: 'alice', provider: 'codex', inUse: true, windows: [window] }
    // The store holds what has been served by now.
    pending.push({ now: now + 1, account, rollups: [...rollups.values()] })
  }
}

function rollup(hour: number, totalTokens: number, account = 'alice'): Rollup {
  const nothing = { failures: 0, inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  return { hour, account, provider: 'codex', model: 'm', requests: 1, ...nothing, totalTokens }
}

const outlookAt = ({ account, rollups, now }: Moment): Outlook | undefined =>
  forecast([account], rollups, now).accounts.get('alice')?.[0]

const moments = Object.entries(demands).flatMap(([name, demand], index) =>
  [0.5, 0.65, 0.8, 1.3].flatMap((share) =>
    [...weeks(demand, share, WEEK, chance(index + share * 10))].map((moment) => ({ name, share, ...moment })),
  ),
)

test('of moments before a week runs dry, nine in ten tell the time within a quarter of the time left', () => {
  const told = moments.flatMap((moment) => {
    const outlook = outlookAt(moment)
    if (moment.dryAt === undefined || !outlook) return []
    const missed = Math.abs((outlook.runsDryAt ?? Infinity) - moment.dryAt)
    return [missed <= (moment.dryAt - moment.now) / 4]
  })
  assert.ok(told.length > 500, `${told.length} moments`)
  assert.ok(
    told.filter(Boolean).length >= 0.9 * told.length,
    `${told.filter(Boolean).length} of ${told.length}`,
  )
})

test('of moments in a week that does not run dry, nine in ten tell what expires within ten points', () => {
  const told = moments.flatMap((moment) => {
    const outlook = outlookAt(moment)
    if (moment.dryAt !== undefined || !outlook) return []
    return [Math.abs((outlook.unusedPercent ?? -100) - moment.unused) <= 10]
  })
  assert.ok(told.length > 100, `${told.length} moments`)
  assert.ok(
    told.filter(Boolean).length >= 0.9 * told.length,
    `${told.filter(Boolean).length} of ${told.length}`,
  )
})

const now = START + 10 * DAY
const week = (change: Partial<SeenWindow> = {}): SeenWindow => ({
  name: 'secondary',
  lengthMinutes: WEEK / 60_000,
  usedPercent: 60,
  resetsAt: now + 4 * DAY,
  seenAt: now,
  ...change,
})

const accountOf = (change: Partial<ForecastAccount> = {}): ForecastAccount => ({
  id: 'alice',
  provider: 'codex',
  plan: 'plus',
  inUse: true,
  windows: [week()],
  ...change,
})

/** So many tokens in every hour of so many days before now. */
const use = (tokens: number, days = 10, account = 'alice'): Rollup[] =>
  Array.from({ length: days * 24 }, (_, hour) => rollup(now - (hour + 1) * HOUR, tokens, account))

test('an even pace is told as it is', () => {
  // Three days have used 60 %, so two more use the rest.
  const [outlook] = forecast([accountOf()], use(100), now).accounts.get('alice') ?? []
  assert.ok(outlook?.runsDryAt !== undefined && Math.abs(outlook.runsDryAt - (now + 2 * DAY)) < HOUR)
  assert.ok(Math.abs(outlook.percentPerHour - 60 / 72) < 0.01)
  assert.equal(outlook.unusedPercent, undefined)
  const half = accountOf({ windows: [week({ usedPercent: 30 })] })
  const [left] = forecast([half], use(100), now).accounts.get('alice') ?? []
  assert.deepEqual([left?.runsDryAt, Math.round(left?.unusedPercent ?? 0)], [undefined, 30])
})

const unknown: [string, ForecastAccount, Rollup[]][] = [
  ['no window is known', accountOf({ windows: [] }), use(100)],
  ['the use of the window is unknown', accountOf({ windows: [week({ usedPercent: undefined })] }), use(100)],
  [
    'the length of the window is unknown',
    accountOf({ windows: [week({ lengthMinutes: undefined })] }),
    use(100),
  ],
  ['the reset of the window is unknown', accountOf({ windows: [week({ resetsAt: undefined })] }), use(100)],
  ['the reset of the window has passed', accountOf({ windows: [week({ resetsAt: now })] }), use(100)],
  ['too little of the window is used to tell', accountOf({ windows: [week({ usedPercent: 4 })] }), use(100)],
  ['an account has been used for an hour only', accountOf(), use(100, 1 / 24)],
  ['the window has only just begun', accountOf({ windows: [week({ resetsAt: now + WEEK - HOUR })] }), []],
]
for (const [why, account, rollups] of unknown)
  test(`no forecast is made while ${why}`, () => {
    const { accounts, providers, pool } = forecast([account], rollups, now)
    assert.deepEqual([accounts.size, providers.size, pool], [0, 0, undefined])
  })

test('an account that others use outside the gateway has the pace of its window', () => {
  const [outlook] = forecast([accountOf()], [], now).accounts.get('alice') ?? []
  assert.ok(outlook)
  assert.ok(Math.abs(outlook.percentPerHour - 60 / 72) < 0.01)
})

test('an account that is not used expires unused', () => {
  const idle = accountOf({ windows: [week({ usedPercent: 0 })] })
  const [outlook] = forecast([idle], [], now).accounts.get('alice') ?? []
  assert.deepEqual([outlook?.percentPerHour, outlook?.runsDryAt, outlook?.unusedPercent], [0, undefined, 100])
})

test('a full window has run dry', () => {
  const full = accountOf({ windows: [week({ usedPercent: 100 })] })
  const [outlook] = forecast([full], use(100), now).accounts.get('alice') ?? []
  assert.deepEqual([outlook?.runsDryAt, outlook?.unusedPercent], [now, undefined])
})

test('use since the report counts, and the age of the report is told', () => {
  const seenAt = now - 12 * HOUR
  const old = accountOf({ windows: [week({ seenAt })] })
  const [fresh] = forecast([accountOf()], use(100), now).accounts.get('alice') ?? []
  const [late] = forecast([old], use(100), now).accounts.get('alice') ?? []
  assert.equal(late?.seenAt, seenAt)
  assert.ok(
    (late?.runsDryAt ?? Infinity) < (fresh?.runsDryAt ?? Infinity),
    'it has used more than was reported',
  )
})

test('a window of one model goes by the use of that model', () => {
  const pro = week({ name: 'pro', model: 'pro' })
  const other = accountOf({ windows: [pro] })
  const used = use(100).map((one) => ({ ...one, model: 'pro' }))
  const [outlook] = forecast([other], used, now).accounts.get('alice') ?? []
  assert.equal(outlook?.model, 'pro')
  assert.equal(forecast([other], used, now).providers.size, 0, 'a model is not the whole provider')
})

test('a provider runs dry when the windows of its accounts together do, with what is reset meanwhile', () => {
  const bob = accountOf({ id: 'bob', windows: [week({ usedPercent: 10 })] })
  const both = [...use(100), ...use(25, 10, 'bob')]
  const { providers, accounts, pool } = forecast([accountOf(), bob], both, now)
  const shared = providers.get('codex')
  const alone = accounts.get('alice')?.[0]
  assert.equal(shared?.accounts, 2)
  assert.ok((shared?.runsDryAt ?? Infinity) > (alone?.runsDryAt ?? 0), 'the other account helps')
  assert.deepEqual(pool, shared)
  const disabled = forecast([accountOf(), { ...bob, inUse: false }], both, now).providers.get('codex')
  assert.equal(disabled?.accounts, 1)
  assert.ok((disabled?.runsDryAt ?? Infinity) <= (shared?.runsDryAt ?? Infinity))
})

test('a new account counts as others of its plan, and else no forecast is made for all', () => {
  const fresh = accountOf({ id: 'bob', windows: [week({ usedPercent: 0 })] })
  assert.equal(forecast([accountOf(), fresh], use(100), now).providers.get('codex')?.accounts, 2)
  const other = { ...fresh, plan: 'pro' }
  assert.equal(forecast([accountOf(), other], use(100), now).providers.size, 0)
})
