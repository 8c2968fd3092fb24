import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Pins } from '../../src/accounts/pins.js'
import { Trails } from '../../src/accounts/trails.js'
import { conversationOf } from '../../src/index.js'
import { openingOf } from '../../providers/history.js'
import { startPool } from '../kit/pool.js'
import { request } from '../kit/provider.js'
import { keptShare, largestShare, makeTalks, seeded, type Talk } from '../kit/talks.js'

/** Conversations that name nothing, turn by turn, in an order made by chance. */
function* interleaved(talks: readonly Talk[], turns: number, random: () => number): Generator<Talk> {
  const running = [...talks]
  while (running.length > 0) {
    const at = Math.floor(random() * running.length)
    const talk = running[at]!
    yield talk
    if (talk.accounts.length === turns) running.splice(at, 1)
    else talk.goOn()
  }
}

const isList = (answer: object): answer is readonly object[] => Array.isArray(answer)

test('a thousand interleaved conversations without a name stay on their accounts', () => {
  const random = seeded(7)
  const trails = new Trails(new Pins({ max: 40_000, idleMs: 60_000 }, { put() {}, remove() {} }))
  const talks = makeTalks(1_000, random)
  const served = [0, 0, 0, 0, 0]
  let fresh = 0
  for (const talk of interleaved(talks, 5, random)) {
    const { path, body } = talk.asked()
    const { history } = conversationOf(request({ url: path, body }))!
    const trail = trails.follow('scope', history!, `fresh-${fresh++}`)
    const pinned = trails.pins.get(trail.conversation)
    const account = pinned ?? String(served.indexOf(Math.min(...served)))
    served[Number(account)]!++
    trails.pins.set(trail.conversation, account)
    trails.served(trail)
    talk.accounts.push(account)
    const answer = talk.answer()
    trails.answered(
      trail,
      openingOf(isList(answer) ? answer.at(-1) : answer, isList(answer) ? answer : [], true),
    )
  }
  assert.ok(keptShare(talks) >= 0.99, `${keptShare(talks)} of the turns stayed`)
  assert.ok(largestShare(talks, 5) <= 2, `one account had ${largestShare(talks, 5)} times its share`)
})

/** An upstream of all APIs: each conversation says in its model's name which one it is, and gets its answer. */
async function startUpstream(t: TestContext, talks: readonly Talk[]): Promise<string> {
  const server = createServer(async (asked, response) => {
    let text = ''
    for await (const chunk of asked) text += String(chunk)
    const talk = talks[Number(/"talk-(\d+)"/.exec(text)![1])]!
    const { authorization, 'x-goog-api-key': key } = asked.headers
    talk.accounts.push(/account-\d+/.exec(authorization ?? String(key))![0])
    const answer = talk.answer()
    if (!isList(answer)) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of answer) response.write(`data: ${JSON.stringify(event)}\n\n`)
    response.end()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((listening) => server.once('listening', listening))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('conversations without a name stay on their accounts, for every provider that reads bodies', async (t) => {
  const random = seeded(11)
  const talks = makeTalks(48, random)
  const upstream = await startUpstream(t, talks)
  const pool = await startPool(t, {
    env: { UPSTREAM_OPENAI_BASE: `${upstream}/v1`, UPSTREAM_GEMINI_API_BASE: upstream },
    config: {
      pins: { max: 1_000 },
      providers: { claude: { type: 'bearer', upstream } },
      routes: [{ path: '/claude', provider: 'claude' }],
    },
    prepare: async ({ poolDir }) => {
      const write = (name: string, content: object) =>
        writeFile(join(poolDir, `${name}.json`), JSON.stringify(content), { mode: 0o600 })
      for (let i = 1; i <= 4; i++) {
        await write(`openai_${i}`, { OPENAI_API_KEY: `sk-account-${i}` })
        await write(`gemini_${i}`, { api_key: `key-of-account-${i}` })
        await write(`claude_${i}`, { token: `token-of-account-${i}` })
      }
    },
  })
  for (const talk of interleaved(talks, 4, random)) {
    const { path, body } = talk.asked()
    const answer = await fetch(pool.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, labels: `talk-${talk.id}` }),
    })
    assert.equal(answer.status, 200)
    await answer.arrayBuffer()
  }
  const moved = talks.filter(({ accounts }) => new Set(accounts).size > 1).map(({ shape, id }) => [id, shape])
  assert.deepEqual(moved, [])
  assert.ok(largestShare(talks, 4) <= 2, `one account had ${largestShare(talks, 4)} times its share`)
})
