import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Account } from '../../src/accounts/account.js'
import { cooldownAfter, type Cooldown } from '../../src/accounts/cooldowns.js'

const NOW = 1_900_000_000_000
const SECOND = 1_000
const MINUTE = 60 * SECOND

const cooling = (retryAfterMs?: number) => ({ kind: 'cooling', reason: 'r', retryAfterMs }) as const
const exhausted = (resetsAt?: number, model?: string) =>
  ({ kind: 'exhausted', reason: 'r', resetsAt, model }) as const

const lengths: Record<string, [verdict: Parameters<typeof cooldownAfter>[0], ms: number]> = {
  'for as long as it is told': [cooling(7 * SECOND), 7 * SECOND],
  'for a second if nothing is told': [cooling(), SECOND],
  'for a second at least, whatever is told': [cooling(0), SECOND],
  'for a second if the wait that it is told is over': [cooling(-5), SECOND],
  'for at most 15 minutes, whatever is told': [cooling(24 * 60 * MINUTE), 15 * MINUTE],
  'until its quota resets': [exhausted(NOW + 4 * MINUTE), 4 * MINUTE],
  'for at most 15 minutes if the reset is far': [exhausted(NOW + 5_000 * MINUTE), 15 * MINUTE],
  'for 15 minutes if no reset is known': [exhausted(), 15 * MINUTE],
  'for 15 minutes if the reset is past': [exhausted(NOW - MINUTE), 15 * MINUTE],
}
for (const [name, [verdict, ms]] of Object.entries(lengths))
  test(`an account cools down ${name}`, () =>
    assert.equal(cooldownAfter(verdict, undefined, NOW).until, NOW + ms))

test('a reset is remembered as it was told, though not believed', () => {
  const { until, resetsAt } = cooldownAfter(exhausted(NOW + 60 * MINUTE), undefined, NOW)
  assert.deepEqual([until, resetsAt], [NOW + 15 * MINUTE, NOW + 60 * MINUTE])
})

test('a cooldown doubles with each refusal after it, up to 5 minutes', () => {
  let before: Cooldown | undefined
  const seen = Array.from({ length: 11 }, () => {
    const now = before?.until ?? NOW
    before = cooldownAfter(cooling(), before, now)
    return (before.until - now) / SECOND
  })
  assert.deepEqual(seen, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
})

test('a hundred requests that are refused together are one refusal', () => {
  let cooldown: Cooldown | undefined
  for (let i = 0; i < 100; i++) cooldown = cooldownAfter(cooling(), cooldown, NOW + i)
  assert.equal(cooldown?.strikes, 1)
  assert.ok(cooldown.until <= NOW + 1100)
})

test('a late refusal does not shorten a cooldown', () => {
  const limit = cooldownAfter(exhausted(NOW + 10 * MINUTE), undefined, NOW)
  assert.equal(cooldownAfter(cooling(), limit, NOW + 1), limit)
  assert.equal(cooldownAfter(cooling(), limit, limit.until).kind, 'cooling', 'once it is over, it counts')
})

const account = () => new Account('a', 'gemini', '/a.json', {}, {}, 'digest')
const window = (model: string | undefined, usedPercent: number, resetsAt = NOW + 60 * MINUTE) => ({
  windows: [{ name: model ?? 'primary', model, usedPercent, resetsAt }],
})

test('a cooldown for one model leaves the others free, and one for all counts for each', () => {
  const it = account()
  it.cool(exhausted(undefined, 'pro'), NOW)
  assert.deepEqual(
    ['pro', 'flash', undefined].map((model) => it.unavailable(model, NOW)),
    ['exhausted', undefined, undefined],
  )
  it.cool(cooling(MINUTE), NOW)
  assert.deepEqual(
    ['pro', 'flash'].map((model) => it.availableAt(NOW, model)),
    [NOW + 15 * MINUTE, NOW + MINUTE],
  )
})

test('after a cooldown one request at a time may try; the others wait for how it ends', () => {
  const it = account()
  it.cool(cooling(MINUTE), NOW)
  const after = NOW + MINUTE
  assert.equal(it.unavailable('pro', after), undefined)
  const release = it.lease('pro', after)
  assert.equal(it.unavailable('flash', after), 'probing')
  release()
  assert.equal(it.unavailable('flash', after), undefined, 'it brought no news: the next one may try')
  it.lease('pro', after)
  it.succeeded('pro', after)
  assert.equal(it.unavailable('flash', after), undefined)
  assert.deepEqual(it.cooldowns(), [])
})

test('room that a poll finds ends an exhaustion, of that model alone', () => {
  const it = account()
  it.cool(exhausted(undefined, 'pro'), NOW)
  it.cool(exhausted(undefined, 'flash'), NOW)
  it.observe(window('pro', 10), 'poll', NOW)
  assert.deepEqual(
    it.cooldowns().map(({ model }) => model),
    ['flash'],
  )
})

test('an answer that tells nothing of a quota ends no exhaustion', () => {
  const it = account()
  it.cool(exhausted(), NOW)
  it.observe({ windows: [{ name: 'primary' }] }, 'headers', NOW)
  assert.equal(it.state(NOW), 'exhausted')
})

test('a model whose window is reported to be full is asked last', () => {
  const it = account()
  const windows = ['pro', 'flash', 'lite'].flatMap(
    (model, index) => window(model, index < 2 ? 100 : 99).windows,
  )
  it.observe({ windows }, 'poll', NOW)
  assert.deepEqual(
    ['pro', 'flash', 'lite'].map((model) => [it.state(NOW, model), it.shortage(model, NOW)]),
    [
      ['ready', 'full'],
      ['ready', 'full'],
      ['ready', undefined],
    ],
  )
})

test('a window that is over says nothing any more', () => {
  const it = account()
  it.observe(window(undefined, 100, NOW + MINUTE), 'headers', NOW)
  assert.equal(it.shortage(undefined, NOW), 'full')
  assert.equal(it.shortage(undefined, NOW + MINUTE), undefined)
  assert.equal(it.candidate(undefined, NOW + MINUTE).usedPercent, undefined)
})

test('a lease that is given back twice is given back once', () => {
  const it = account()
  const release = it.lease('pro', NOW)
  it.lease('pro', NOW)
  release()
  release()
  assert.equal(it.inFlight, 1)
})
