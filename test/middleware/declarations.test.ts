import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AccountEntry, UserConfig } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { startPool, type TestPool, until } from '../kit/pool.js'
import { refusedBy } from '../kit/websocket.js'

const LOGINS = ['home_c', 'me', 'work_a', 'work_b']
const KEY = 'openai_key'
const PATTERNS = ['*', 'work_*', 'me', '{me,home_c}', '*_[bc]', KEY, '!(work_*)', 'nobody_*']

/** One account as the rules see it. */
interface Member {
  readonly id: string
  readonly used: number
  readonly credits: boolean
  readonly disabled: boolean
  /** Requests in flight. */
  readonly running: number
}

interface Case {
  readonly accounts: Record<string, AccountEntry>
  readonly apiKeys: 'never' | 'when-exhausted' | 'always'
  readonly members: readonly Member[]
  /** The account that has served the conversation before, if there is one. */
  readonly pinned: string | undefined
}

/** The rules, written down once more: who is asked, one after the other, if each of them fails. */
function expected({ accounts, apiKeys, members, pinned }: Case): string[] {
  const settings = (id: string): AccountEntry =>
    Object.entries(accounts).reduce(
      (all, [pattern, entry]) => (stands(pattern, id) ? { ...all, ...entry } : all),
      {},
    )
  const order = ({ id }: Member): number =>
    settings(id).order ?? (id !== KEY || apiKeys === 'always' ? 1 : apiKeys === 'never' ? Infinity : 2)
  const shortage = ({ id, used, credits }: Member): number => {
    if (used >= 100) return credits ? 3 : 2
    return used >= 100 - (settings(id).reserve ?? 0) ? 1 : 0
  }
  const inPool = members.some((member) => order(member) < Infinity)
    ? members.filter((member) => order(member) < Infinity)
    : members
  let left = inPool.filter(
    ({ id, disabled, running }) => !disabled && running < (settings(id).concurrency ?? Infinity),
  )
  const asked: string[] = []
  while (left.length > 0) {
    const home = left.find(({ id }) => id === pinned)
    const stays =
      home && left.every((other) => order(other) > order(home) || shortage(other) >= shortage(home))
    const next = stays
      ? home
      : left.toSorted(
          (a, b) => order(a) - order(b) || shortage(a) - shortage(b) || (a.id < b.id ? -1 : 1),
        )[0]!
    asked.push(next.id)
    left = left.filter((one) => one !== next)
  }
  return asked
}

/** What each pattern stands for, without the library that the gateway asks. */
function stands(pattern: string, id: string): boolean {
  const isWork = id.startsWith('work_')
  switch (pattern) {
    case '*':
      return true
    case 'work_*':
      return isWork
    case '{me,home_c}':
      return id === 'me' || id === 'home_c'
    case '*_[bc]':
      return /_[bc]$/.test(id)
    case '!(work_*)':
      return !isWork
    default:
      return pattern === id
  }
}

function randomCase(random: (most: number) => number): Case {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!
  const entries = Array.from({ length: random(5) }, (): [string, AccountEntry] => [
    pick(PATTERNS),
    {
      ...(random(2) && { order: random(4) }),
      ...(random(2) && { reserve: pick([0, 1, 20, 40, 100]) }),
      ...(random(3) === 0 && { concurrency: 1 + random(2) }),
    },
  ])
  // One conversation at most runs elsewhere: that costs a request.
  const busy = random(3) === 0 ? pick(LOGINS) : undefined
  const members = [...LOGINS, KEY].map((id) => ({
    id,
    used: id === KEY ? 0 : pick([0, 30, 59, 60, 61, 79, 80, 81, 99, 100]),
    credits: id !== KEY && random(4) === 0,
    disabled: random(6) === 0,
    running: id === busy ? 1 : 0,
  }))
  const pinned = random(2) ? pick(LOGINS) : undefined
  return {
    accounts: Object.fromEntries(entries),
    apiKeys: pick(['never', 'when-exhausted', 'always'] as const),
    members,
    pinned,
  }
}

/** Whole numbers below `most`, the same in every run. */
function chance(seed: number): (most: number) => number {
  return (most) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return Math.floor((seed / 0x8000_0000) * most)
  }
}

/** A gateway whose declarations and states can be changed from case to case. */
class Stage {
  /** The account that a strategy is to pick while a case is prepared. */
  #wanted: string | undefined
  readonly config: UserConfig = {
    strategies: {
      'in-order': (accounts) => accounts.find(({ id }) => id === this.#wanted) ?? accounts[0],
    },
    log: { level: 'error' },
    retry: { default: { attempts: 100, waitForSlotMs: 0 } },
    routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'in-order' } }],
  }
  pool!: TestPool
  #sessions = 0

  async open(t: Parameters<typeof startPool>[0]): Promise<void> {
    const codex = LOGINS.map((id) => ({ id }))
    // The configuration of a gateway that was given an object is read again at a reload.
    const settings = { ...this.config }
    this.pool = await startPool(t, { codex, codexApiKeys: [{ id: KEY }], config: settings })
  }

  async #declare(accounts: Case['accounts'], apiKeys: Case['apiKeys']): Promise<void> {
    const settings = { accounts, providers: { codex: { type: 'codex' as const, apiKeys } } }
    Object.assign(this.pool.settings, settings)
    const { configProblem } = await this.pool.gateway.reload()
    assert.equal(configProblem, undefined)
  }

  /** Brings the accounts into a state. @returns the session of the conversation, and what ends the request in flight */
  async prepare({
    accounts,
    apiKeys,
    members,
    pinned,
  }: Case): Promise<{ session: string; end: () => unknown }> {
    const { pool } = this
    const { gateway, sim } = pool
    const ends: (() => unknown)[] = []
    const session = `session-${++this.#sessions}`
    for (const { id } of members) gateway.setDisabled(id, false)
    const running = members.filter(({ running }) => running > 0)
    if (pinned !== undefined || running.length > 0) {
      await this.#free()
      this.#wanted = pinned
      if (pinned !== undefined) assert.equal(await pool.servedBy(session), pinned)
      for (const { id } of running) ends.push(await this.#hold(id))
      this.#wanted = undefined
    }
    for (const { id, used, credits } of members.filter(({ id }) => id !== KEY)) {
      sim.account(id).window('primary', { usedPercent: Math.min(used, 50) })
      sim.account(id).window('secondary', { usedPercent: used })
      sim.account(id).credits = { ...sim.account(id).credits, hasCredits: credits }
    }
    await this.#poll((id) => members.find((member) => member.id === id)!.used)
    for (const { id, disabled } of members) gateway.setDisabled(id, disabled)
    await this.#declare(accounts, apiKeys)
    return { session, end: () => Promise.all(ends.map((end) => end())) }
  }

  /** Any account may serve. */
  async #free(): Promise<void> {
    const { sim } = this.pool
    await this.#declare({}, 'always')
    for (const id of LOGINS)
      for (const name of ['primary', 'secondary'] as const) sim.account(id).window(name, { usedPercent: 0 })
    await this.#poll(() => 0)
  }

  /** Keeps a request in flight on an account. */
  async #hold(id: string): Promise<() => Promise<void>> {
    this.#wanted = id
    const fault = this.pool.sim.fail({ account: id, with: faults.stall(5) })
    const request = this.pool.ask(`held-${++this.#sessions}`)
    request.end(() => {})
    await until(() => fault.hits === 1)
    fault.stop()
    return async () => {
      request.abort()
      await until(() => this.#inFlight(id) === 0)
    }
  }

  #inFlight = (id: string): number => this.pool.gateway.accounts().find((one) => one.id === id)!.inFlight

  /** Has the gateway read every login's windows. */
  async #poll(used: (id: string) => number): Promise<void> {
    const { gateway } = this.pool
    gateway.retry()
    await until(() =>
      gateway
        .accounts()
        .every(
          ({ id, windows }) =>
            id === KEY || windows.find(({ name }) => name === 'secondary')?.usedPercent === used(id),
        ),
    )
  }

  /** The accounts that were asked for one request, which fails on each of them. */
  async asked(send: () => PromiseLike<unknown>): Promise<(string | undefined)[]> {
    const { sim } = this.pool
    const before = sim.requests.length
    const fault = sim.fail({ path: '/responses', times: Infinity, with: faults.serverError() })
    await send()
    fault.stop()
    const asked = sim.requests.slice(before).filter(({ path }) => path.endsWith('/responses'))
    return asked.map(({ account }) => account)
  }
}

test('two hundred random declarations: the accounts are asked as the rules say, over HTTP and WebSockets', async (t) => {
  const stage = new Stage()
  await stage.open(t)
  const random = chance(17)
  for (let number = 0; number < 200; number++) {
    const drawn = randomCase(random)
    const { session, end } = await stage.prepare(drawn)
    const rules = expected(drawn)
    const told = `case ${number}: ${JSON.stringify(drawn)}`
    assert.deepEqual(await stage.asked(() => stage.pool.ask(session)), rules, `HTTP, ${told}`)
    const overSocket = await stage.asked(() => refusedBy(stage.pool, session))
    assert.deepEqual(overSocket, rules, `WebSocket, ${told}`)
    await end()
  }
})
