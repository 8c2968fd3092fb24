import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { faults, type ScriptedFault } from '../../src/simulator/index.js'
import { codex, conversations, readme, turns } from './codex.js'
import { said } from './run.js'
import { scenario, type StageOptions } from './stage.js'

const one = { codex: [{ id: 'alice' }] }
const two = { codex: [{ id: 'alice' }, { id: 'bob' }] }
const PATH = '/codex/responses'
const DAY_MS = 86_400_000

scenario(
  'a usage limit in the middle of a turn moves the conversation, unseen by the client',
  two,
  async (stage) => {
    const me = await codex(stage, readme(stage.url))
    let limit: ScriptedFault | undefined
    stage.sim.reply(({ account, toolOutputs: [output] }) => {
      if (output !== undefined) return `${account} went on.`
      const reached = faults.usageLimit({ resetsAt: Date.now() + DAY_MS })
      limit = stage.sim.fail({ account, path: PATH, times: Infinity, with: reached })
      return [{ custom: 'exec', input: 'text("done")' }]
    })
    const ended = await me.exec('use the tool')
    const [[from, to] = []] = conversations(stage)
    said(ended, `${to} went on.`)
    assert.deepEqual([from, to].sort(), ['alice', 'bob'])
    assert.equal(limit?.hits, 1)
    assert.equal(turns(stage).at(-1)?.headers['x-codex-turn-state'], undefined)

    stage.sim.reply(({ account }) => `${account} is still here.`)
    said(await me.exec('resume', '--last', 'and now?'), `${to} is still here.`)
    assert.deepEqual(conversations(stage), [[from, to]])
  },
)

const expired: StageOptions = {
  ...one,
  prepare: (sim, poolDir) =>
    writeFile(join(poolDir, 'alice.json'), JSON.stringify(sim.account('alice').authJson({ expired: true }))),
}

scenario('a token that has expired is refreshed before it is used', expired, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  said(await me.exec('say hi'), 'Hello from the simulator.')
  assert.deepEqual(stage.sim.issuer, { refreshes: 1, reuses: 0 })
  assert.ok(stage.sim.requests.every(({ status }) => status !== 401))
})

scenario('a token that ends before its time is refreshed, and the turn sent again', one, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  stage.sim.account('alice').expireAccessToken()
  said(await me.exec('say hi'), 'Hello from the simulator.')
  assert.deepEqual(stage.sim.issuer, { refreshes: 1, reuses: 0 })
  assert.ok(stage.sim.requests.some(({ status }) => status === 401))
})

for (const code of ['usage_limit_reached', 'rate_limit_exceeded'])
  scenario(`a stream that fails at once with ${code} is begun again elsewhere`, two, async (stage) => {
    const me = await codex(stage, readme(stage.url))
    stage.sim.fail({ path: PATH, with: faults.failed(code) })
    const ended = await me.exec('say hi')
    said(ended, 'Hello from the simulator.')
    assert.doesNotMatch(ended.stderr, /Reconnecting/)
    assert.equal(new Set(turns(stage).map(({ account }) => account)).size, 2)
  })

scenario('with every account exhausted Codex says when the first of them comes back', two, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  const first = Date.now() + 3 * DAY_MS
  stage.sim.account('alice').exhaust({ resetsAt: first + DAY_MS })
  stage.sim.account('bob').exhaust({ resetsAt: first })
  const { code, stdout, stderr } = await me.exec('say hi')
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
  assert.match(stderr, new RegExp(`usage limit.* try again at ${asCodexWrites(first)}`))
  assert.equal(turns(stage).length, 2)
})

/** `Nov 25th, 2026 7:44 PM`: how Codex writes a time that is not today. */
function asCodexWrites(time: number): string {
  const parts = new Intl.DateTimeFormat('en-US', {
    month: 'short',
    day: 'numeric',
    year: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
    timeZone: 'UTC',
  })
    .formatToParts(Math.ceil(time / 1000) * 1000)
    .map(({ type, value }) => [type, value])
  const { month, day, year, hour, minute, dayPeriod } = Object.fromEntries(parts) as Record<string, string>
  return `${month} ${day}(st|nd|rd|th), ${year} ${hour}:${minute} ${dayPeriod}`
}
