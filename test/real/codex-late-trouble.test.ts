import assert from 'node:assert/strict'
import { faults, field, list, type SimRequest, type WireFault } from '../../src/simulator/index.js'
import { builtin, codex, readme, turns } from './codex.js'
import { said } from './run.js'
import { scenario, type Stage } from './stage.js'

const two = { codex: [{ id: 'alice' }, { id: 'bob' }] }
const PATH = '/codex/responses'
const isTurn = (frame: unknown) => field(frame, 'generate') !== false
/** What a turn cost the client: a retry of its own is told on its error output. */
const SMOOTH = /Reconnecting|Falling back|at capacity|overloaded/

/** The accounts that were asked over HTTP or WebSocket, in order; one that is asked again at once counts once. */
function asked({ sim }: Stage): string[] {
  const isAsked = ({ status, path, method }: SimRequest) =>
    path.endsWith(PATH) && (status === 101 || method === 'POST')
  const accounts = sim.requests.filter(isAsked).flatMap(({ account }) => account ?? [])
  return accounts.filter((account, index) => account !== accounts[index - 1])
}

const late: [name: string, fault: WireFault][] = [
  [
    'an overload after five seconds',
    faults.inStream(faults.overloaded(), { preludeBytes: 0, afterMs: 5000 }),
  ],
  [
    'a model at capacity after a prelude of 60 KiB',
    faults.inStream(faults.atCapacity(), { preludeBytes: 61_440, afterMs: 3000 }),
  ],
]
for (const [name, fault] of late)
  for (const [way, config] of [
    ['HTTP', readme],
    ['a WebSocket', builtin],
  ] as const)
    scenario(
      `${name} on the home account moves the turn over ${way}, unseen by the client`,
      two,
      async (stage) => {
        const me = await codex(stage, config(stage.url))
        stage.sim.reply(({ account }) => `I am ${account}.`)
        const first = await me.exec('say hi')
        const [home = ''] = asked(stage)
        said(first, `I am ${home}.`)
        const other = home === 'alice' ? 'bob' : 'alice'
        const rule = way === 'HTTP' ? { account: home, path: PATH } : { account: home, frame: isTurn }
        const trouble = stage.sim.fail({ ...rule, with: fault } as Parameters<typeof stage.sim.fail>[0])
        const ended = await me.exec('resume', '--last', 'and now?')
        assert.equal(trouble.hits, 1)
        said(ended, `I am ${other}.`)
        assert.doesNotMatch(ended.stderr, SMOOTH)
      },
    )

for (const plan of ['business', 'enterprise', 'edu'])
  scenario(`codex answers with a login of the plan ${plan}`, two, async (stage) => {
    const me = await codex(stage, readme(stage.url), { plan })
    said(await me.exec('say hi'), 'Hello from the simulator.')
    const policies = stage.sim.requests.filter(({ path }) => path.endsWith('/config/bundle'))
    assert.deepEqual(policies, [], 'a workspace of the pool was asked for its policy')
  })

scenario(
  'a compacted conversation goes on when its home has reached its limit',
  { ...two, strictHistory: 'content' },
  async (stage) => {
    const me = await codex(stage, `model_auto_compact_token_limit = 20000\n${builtin(stage.url)}`)
    stage.sim.reply(({ account }) => ({ items: [{ text: `I am ${account}.` }], usage: { input: 200_000 } }))
    said(await me.exec('say hi'), `I am ${asked(stage)[0]}.`)
    stage.sim.reply(({ account }) => `I am ${account}.`)
    await me.exec('resume', '--last', 'and now?')
    const inputs = [
      ...turns(stage).map(({ json }) => json),
      ...stage.sim.requests.flatMap(({ frames }) => frames),
    ]
    const types = inputs.flatMap((body) => list(body, 'input').map((item) => field(item, 'type')))
    assert.ok(types.includes('compaction_trigger'), 'the client has compacted the conversation')
    const home = asked(stage).at(-1) ?? ''
    stage.sim.account(home).exhaust({ resetsAt: Date.now() + 86_400_000 })
    const ended = await me.exec('resume', '--last', 'and then?')
    said(ended, `I am ${home === 'alice' ? 'bob' : 'alice'}.`)
    assert.doesNotMatch(ended.stderr, /encrypted/)
  },
)

const spark = 'gpt-5.3-codex-spark'
const sparks = {
  codex: ['alice', 'bob'].map((id) => ({ id, modelLimits: [{ model: spark, name: 'GPT-5.3-Codex-Spark' }] })),
}
scenario(
  'a limit of Spark moves a turn of Spark and leaves the account for other models',
  sparks,
  async (stage) => {
    const me = await codex(stage, readme(stage.url))
    const limit = stage.sim.account('alice').modelLimits[0]
    if (limit) limit.windows.primary.usedPercent = 100
    const bob = stage.sim.account('bob').modelLimits[0]
    for (let run = 0; run < 2; run++) {
      said(await me.exec('-m', spark, 'say hi'), 'Hello from the simulator.')
      assert.equal(turns(stage).at(-1)?.account, 'bob')
    }
    const usedUp = stage.gateway.accounts().find(({ id }) => id.endsWith('alice'))
    assert.notEqual(usedUp?.state, 'exhausted')
    if (bob) bob.windows.primary.usedPercent = 100
    const { code, stderr } = await me.exec('-m', spark, 'say hi')
    assert.equal(code, 1)
    assert.match(stderr, /usage limit/)
    said(await me.exec('-m', 'gpt-5.5', 'say hi'), 'Hello from the simulator.')
  },
)
