import assert from 'node:assert/strict'
import {
  type Fault,
  type FrameFault,
  faults,
  field,
  list,
  type SimRequest,
} from '../../src/simulator/index.js'
import { builtin, codex, turns } from './codex.js'
import { type Run, said } from './run.js'
import { scenario, type Stage, type StageOptions } from './stage.js'

const two = { codex: [{ id: 'alice' }, { id: 'bob' }] }
const PATH = '/codex/responses'
const isHandshake = ({ method }: SimRequest) => method === 'GET'
const isTurn = (frame: unknown) => field(frame, 'generate') !== false

/** The accounts whose WebSockets opened, in order. */
const opened = ({ sim }: Stage) =>
  sim.requests.filter(({ status }) => status === 101).map(({ account }) => account)

function smooth(ended: Run, answer: string): void {
  said(ended, answer)
  assert.doesNotMatch(ended.stderr, /Reconnecting|Falling back|ERROR: /)
}

/** A model that runs one command; once it has, its account can do no more. */
function runsDry({ sim }: Stage): void {
  sim.reply(({ account, toolOutputs: [output] }) => {
    if (output !== undefined) return [{ reasoning: 'So that is it.' }, { text: `${account} went on.` }]
    sim.account(account).exhaust({ resetsAt: Date.now() + 3_600_000 })
    return [{ reasoning: 'Let me look.' }, { custom: 'exec', input: 'text("done")' }]
  })
}

for (const [reads, strictHistory] of [
  ['reads the other account’s reasoning', false],
  ['cannot read the other account’s reasoning', true],
] as const)
  scenario(
    `an account that runs dry in the middle of a turn hands over to one that ${reads}`,
    { ...two, strictHistory },
    async (stage) => {
      const me = await codex(stage, builtin(stage.url))
      runsDry(stage)
      const ended = await me.exec('use the tool')
      const [from, to] = opened(stage)
      assert.deepEqual([from, to].sort(), ['alice', 'bob'])
      smooth(ended, `${to} went on.`)

      stage.sim.reply(({ account }) => `${account} is still here.`)
      smooth(await me.exec('resume', '--last', 'and now?'), `${to} is still here.`)
      // Upstream may forget what the turn was built on, and then the client opens one more.
      assert.deepEqual(new Set(opened(stage).slice(1)), new Set([to]))
    },
  )

const deaths: Record<string, FrameFault> = {
  'runs dry in the middle of its answer': { ...faults.usageLimit(), after: 8 },
  'is limited in the middle of its answer': { ...faults.rateLimited(), after: 8 },
  'loses its workspace': { status: 402, body: { error: { code: 'deactivated_workspace' } } },
}

for (const [name, fault] of Object.entries(deaths))
  scenario(`an account that ${name} is left for another, and the user sees nothing`, two, async (stage) => {
    const me = await codex(stage, builtin(stage.url))
    stage.sim.fail({ frame: isTurn, with: fault })
    smooth(await me.exec('say hi'), 'Hello from the simulator.')
    assert.equal(new Set(opened(stage)).size, 2)
  })

const breaks: Record<string, FrameFault> = {
  'breaks off': faults.cut(8),
  'closes with an error': faults.close(1011, 'internal error', 8),
  restarts: faults.close(1012, 'service restart', 8),
  'has had its time': { ...faults.connectionLimit(), after: 8 },
}

for (const [name, fault] of Object.entries(breaks))
  scenario(`a WebSocket that ${name} in the middle of an answer is opened again`, two, async (stage) => {
    const me = await codex(stage, builtin(stage.url))
    stage.sim.fail({ frame: isTurn, with: fault })
    said(await me.exec('say hi'), 'Hello from the simulator.')
    const accounts = opened(stage)
    assert.deepEqual([accounts.length, new Set(accounts).size], [2, 1], 'on the same account')
  })

const handshakes: Record<string, Fault> = {
  'has run dry': faults.usageLimit(),
  'has lost its login': faults.unauthorized(),
  'is in trouble': faults.serverError(503),
  'breaks the connection': 'reset',
}

for (const [name, fault] of Object.entries(handshakes))
  scenario(
    `a conversation goes on when its account ${name} before the next handshake`,
    two,
    async (stage) => {
      const me = await codex(stage, builtin(stage.url))
      stage.sim.reply(({ account }) => `I am ${account}.`)
      await me.exec('who are you?')
      const [first = ''] = opened(stage)
      stage.sim.fail({ account: first, path: PATH, when: isHandshake, times: Infinity, with: fault })
      const other = first === 'alice' ? 'bob' : 'alice'
      smooth(await me.exec('resume', '--last', 'and now?'), `I am ${other}.`)
      assert.deepEqual(opened(stage), [first, other])
      const [last] = stage.sim.requests.filter(({ status }) => status === 101).slice(-1)
      assert.match(JSON.stringify(last?.frames), new RegExp(`I am ${first}\\.`), 'the history goes along')
    },
  )

scenario('an answer of 10 MB arrives', two, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  stage.sim.fail({ frame: isTurn, with: faults.big(10_000_000) })
  smooth(await me.exec('say hi'), 'Hello from the simulator.')
})

scenario('an upstream without WebSockets is used over HTTP, without delay', two, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  stage.sim.fail({ path: PATH, when: isHandshake, times: Infinity, with: { status: 426 } })
  smooth(await me.exec('say hi'), 'Hello from the simulator.')
  assert.equal(turns(stage).length, 1)
})

const http: StageOptions = {
  ...two,
  config: { routes: [{ path: '/v1', provider: 'codex', websocket: false }] },
}
const ask = { path: PATH, when: ({ method }: SimRequest) => method === 'POST' }

scenario(
  'where WebSockets are off, a compressed turn moves to another account as it came',
  http,
  async (stage) => {
    const me = await codex(stage, builtin(stage.url))
    stage.sim.fail({ ...ask, with: faults.usageLimit() })
    smooth(await me.exec('say hi'), 'Hello from the simulator.')
    const [refused, served] = turns(stage)
    assert.notEqual(served?.account, refused?.account)
    assert.deepEqual([refused?.encoding, served?.encoding], ['zstd', 'zstd'])
    assert.ok(served?.raw.equals(refused?.raw ?? Buffer.alloc(0)))
    assert.deepEqual(opened(stage), [])
  },
)

scenario(
  'where WebSockets are off, reasoning that cannot be read is taken out of a compressed turn',
  http,
  async (stage) => {
    const me = await codex(stage, builtin(stage.url))
    stage.sim.reply(() => [{ reasoning: 'Let me think.' }, { text: 'Yes.' }])
    smooth(await me.exec('is it?'), 'Yes.')
    const code = 'invalid_encrypted_content'
    stage.sim.fail({ ...ask, with: { status: 400, body: { error: { message: code, code } } } })
    smooth(await me.exec('resume', '--last', 'and now?'), 'Yes.')
    const [refused, repaired] = turns(stage).slice(-2)
    assert.deepEqual([refused?.encoding, repaired?.encoding], ['zstd', undefined])
    const items = list(repaired?.json, 'input').map((item) => field(item, 'type'))
    assert.ok(items.includes('message') && !items.includes('reasoning'))
  },
)
