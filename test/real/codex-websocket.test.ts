import assert from 'node:assert/strict'
import { faults, field, type SimRequest } from '../../src/simulator/index.js'
import { builtin, codex, turns } from './codex.js'
import { said } from './run.js'
import { scenario, type Stage } from './stage.js'

const three = { codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }] }
const HANDSHAKE = { path: '/codex/responses', when: ({ method }: SimRequest) => method === 'GET' }
/** A prompt or a tool's output; before the first of them the client only warms the line up. */
const isTurn = (frame: unknown) => field(frame, 'generate') !== false

/** The sockets that opened, in order. */
const sockets = ({ sim }: Stage) => sim.requests.filter(({ status }) => status === 101)
const accountsOf = (stage: Stage) => sockets(stage).map(({ account }) => account)

scenario('codex exec answers with its own provider over a WebSocket', three, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  said(await me.exec('say hi'), 'Hello from the simulator.')
  assert.equal(sockets(stage).length, 1)
  assert.deepEqual(turns(stage), [])
})

scenario('a tool and a resumed conversation stay on one account over WebSockets', three, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  stage.sim.reply(({ account, toolOutputs: [output] }) =>
    output === undefined ? [{ custom: 'exec', input: 'text("done")' }] : `${account} saw it.`,
  )
  const first = await me.exec('use the tool')
  const [account] = accountsOf(stage)
  said(first, `${account} saw it.`)
  said(await me.exec('resume', '--last', 'again'), `${account} saw it.`)
  assert.deepEqual(accountsOf(stage), [account, account])
})

scenario('an account that refuses the handshake is passed over', three, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  stage.sim.fail({ ...HANDSHAKE, with: faults.usageLimit() })
  const ended = await me.exec('say hi')
  said(ended, 'Hello from the simulator.')
  assert.doesNotMatch(ended.stderr, /Reconnecting|Falling back/)
  assert.equal(sockets(stage).length, 1)
})

for (const [when, after] of [
  ['before output', undefined],
  ['after output', 4],
] as const)
  scenario(
    `an account that runs dry ${when} is left for another, and the answer comes`,
    three,
    async (stage) => {
      const me = await codex(stage, builtin(stage.url))
      const limit = { ...faults.usageLimit(), ...(after !== undefined && { after }) }
      const dry = stage.sim.fail({ ...HANDSHAKE, frame: isTurn, with: limit })
      said(await me.exec('say hi'), 'Hello from the simulator.')
      assert.equal(dry.hits, 1)
      assert.equal(new Set(accountsOf(stage)).size, 2)
    },
  )

scenario('with every account exhausted Codex hears of the limit over the WebSocket', three, async (stage) => {
  const me = await codex(stage, builtin(stage.url))
  for (const account of stage.sim.codex.accounts) account.exhaust()
  const { code, stdout, stderr } = await me.exec('say hi')
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
  assert.match(stderr, /hit your usage limit.* try again at /)
})
