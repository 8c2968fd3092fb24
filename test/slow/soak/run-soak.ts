import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type { TestContext } from 'node:test'
import type { Simulator } from '../../../src/simulator/index.js'
import { clientHeaders, saidIn, startPool, turn, until, type TestPool } from '../../kit/pool.js'
import { drain } from '../../kit/stream.js'
import { chance, FaultPlan, questionOf } from './fault-plan.js'
import { active, resources, type Resources } from './resources.js'

export interface SoakSize {
  readonly requests: number
  readonly accounts: number
  /** Requests that run at the same time. */
  readonly atOnce: number
  readonly seed: number
}

export interface SoakFigures {
  readonly seconds: number
  /** How many requests ended in each way. */
  readonly endings: Readonly<Record<string, number>>
  /** How many requests met each fault at the upstream. */
  readonly faults: Readonly<Record<string, number>>
  readonly upstreamRequests: number
  readonly refreshes: number
  /** When half of the requests were done, after the last one, and after everything was closed. */
  readonly resources: Readonly<Record<'early' | 'late' | 'closed', Resources>>
}

const ATTEMPTS = 3
/** Of a thousand clients so many leave in the middle of their answer. */
const LEAVING = 5

/** Asks a pool under seeded faults, and checks every single answer. */
export async function runSoak(t: TestContext, size: SoakSize): Promise<SoakFigures> {
  const plan = new FaultPlan(size.seed)
  const pool = await openPool(t, size.accounts)
  const upstream = countAnswers(pool.sim, plan)
  plan.applyTo(pool.sim)
  pool.sim.reply(({ prompt }) => `The answer to ${prompt}.`)

  const startedAt = performance.now()
  const { endings, early } = await askAll(pool, plan, size)
  const seconds = (performance.now() - startedAt) / 1000
  await until(() => pool.gateway.accounts().every(({ inFlight }) => inFlight === 0))
  const late = resources()
  const { refreshes } = pool.sim.issuer
  await pool.stop()
  await pool.sim.close()
  for (const [question, ending] of endings)
    if (ending !== 'left')
      assert.equal(upstream.answers(question), ending === 'answer' ? 1 : 0, `answers to ${question}`)
  return {
    seconds,
    endings: countsOf(endings.values()),
    faults: plan.counts,
    upstreamRequests: upstream.requests(),
    refreshes,
    resources: { early, late, closed: await settled() },
  }
}

function openPool(t: TestContext, accounts: number): Promise<TestPool> {
  const codex = Array.from({ length: accounts }, (_, index) => ({
    id: `account-${index}`,
    primary: { percentPerRequest: 0 },
    secondary: { percentPerRequest: 0 },
  }))
  const retry = { default: { attempts: ATTEMPTS, waitForCooldownMs: 60_000 } }
  return startPool(t, { codex, config: { retry }, onDisk: true, remember: 500 })
}

/** How each question ended, and what the process held when half of them had been asked. */
async function askAll(pool: TestPool, plan: FaultPlan, { requests, atOnce, seed }: SoakSize) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: atOnce })
  const endings = new Map<string, string>()
  let early = resources()
  let next = 0
  const lane = async () => {
    for (let index = next++; index < requests; index = next++) {
      if (index === Math.floor(requests / 2)) early = resources()
      const question = `question ${index}`
      const leaves = chance(`${seed} leaves ${index}`) * 1000 < LEAVING
      const ending = await ask(pool, agent, question, leaves)
      endings.set(question, ending)
      const met = plan.met.get(question)?.join(', ') ?? 'nothing'
      const allowed = leaves || plan.allows(question, ending, ATTEMPTS)
      assert.ok(allowed, `${question} met ${met} and ended as "${ending}"`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  agent.destroy()
  return { endings, early }
}

function countsOf(words: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

/** Counts what the upstream has answered whole, by question. */
function countAnswers(sim: Simulator, plan: FaultPlan) {
  const byQuestion = new Map<string, number>()
  let requests = 0
  sim.fail({
    path: '/codex/responses',
    times: Infinity,
    when(request) {
      requests++
      void request.closed.then(() => {
        const question = questionOf(request)
        if (request.status === 200 && !request.clientLeft && !plan.spoilt.has(request))
          byQuestion.set(question, (byQuestion.get(question) ?? 0) + 1)
      })
      return false
    },
    with: 'reset',
  })
  return { answers: (question: string) => byQuestion.get(question) ?? 0, requests: () => requests }
}

/** One turn of one client; how it ended. */
async function ask(pool: TestPool, agent: http.Agent, question: string, leaves: boolean): Promise<string> {
  const session = `session ${Math.floor(chance(question) * 500)}`
  const headers = { ...clientHeaders(), 'content-type': 'application/json', 'session-id': session }
  const request = http.request(`${pool.url}/v1/responses`, { method: 'POST', agent, headers })
  request.on('error', () => {})
  request.end(JSON.stringify(turn({ prompt: question })))
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  if (leaves) {
    answer.destroy()
    return 'left'
  }
  const { bytes, broken } = await drain(answer)
  if (broken) return 'broken'
  const text = String(bytes)
  if (answer.statusCode !== 200) return `${answer.statusCode} ${JSON.parse(text).error.code}`
  assert.equal(saidIn(text), `The answer to ${question}.`)
  return 'answer'
}

/** Handles that close take a turn or two. */
async function settled(): Promise<Resources> {
  await until(() => active('TCPSocketWrap') === 0)
  return resources()
}
