import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { field, geminiFaults, list, text } from '../../src/simulator/index.js'
import { onboarding } from '../kit/simulator/onboarding.js'
import { apiKeyMode, gemini, generations, tokenMode } from './gemini.js'
import { said } from './run.js'
import { scenario, type Stage } from './stage.js'

const three = { gemini: [{ id: 'dora' }, { id: 'emil' }, { id: 'fred' }] }

scenario(
  'gemini answers in token mode, and each account is asked with its own project',
  three,
  async (stage) => {
    const me = await gemini(stage, tokenMode(stage.url))
    said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
    const named = stage.sim.requests.flatMap(({ json, account }) => {
      const project = text(json, 'project')
      return project === undefined ? [] : [[account, project]]
    })
    assert.ok(named.length >= 2)
    for (const [account, project] of named) assert.equal(project, `project-${account}`)
  },
)

scenario('a resumed conversation of gemini stays on its account', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  stage.sim.reply(
    ({ account, request }) => `${account} has ${list(request.json, 'request', 'contents').length}.`,
  )
  const first = await me.run('-p', 'one')
  const second = await me.run('--resume', 'latest', '-p', 'two')
  const [one, two] = generations(stage)
  const session = field(one?.json, 'request', 'session_id')
  assert.ok(session)
  assert.equal(field(two?.json, 'request', 'session_id'), session)
  // With each prompt comes a question of the client's own: how hard it is.
  const asked = stage.sim.requests.filter(({ json }) => field(json, 'request', 'session_id') === session)
  assert.deepEqual(
    asked.map(({ account }) => account),
    Array(4).fill(one?.account),
  )
  said(first, `${one?.account} has 1.`)
  said(second, `${one?.account} has 3.`)
})

scenario('gemini uses a tool and reports on it to the same account', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  stage.sim.reply(({ toolOutputs: [output] }) =>
    output === undefined
      ? [{ call: 'write_file', arguments: { file_path: join(me.cwd, 'note.txt'), content: 'hello' } }]
      : 'It is written.',
  )
  said(await me.run('--approval-mode', 'yolo', '-p', 'write a note'), 'It is written.')
  assert.ok(existsSync(join(me.cwd, 'note.txt')))
  const reports = stage.sim.requests.filter(({ path }) => path.endsWith(':recordCodeAssistMetrics'))
  assert.equal(reports.length, 2)
  const accounts = [...generations(stage), ...reports].map(({ account }) => account)
  assert.equal(new Set(accounts).size, 1)
})

scenario('gemini answers in JSON', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  const { code, stdout } = await me.run('--output-format', 'json', '-p', 'say hi')
  assert.deepEqual([code, field(JSON.parse(stdout), 'response')], [0, 'Hello from the simulator.'])
})

scenario('a quota that is used up moves gemini to the next account', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  const used = geminiFaults.asList(geminiFaults.quotaExhausted())
  stage.sim.fail({ path: ':streamGenerateContent', with: used })
  said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
  assert.equal(new Set(generations(stage).map(({ account }) => account)).size, 2)
})

scenario('a token that is refused is refreshed, and gemini sees none of it', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  stage.sim.fail({ path: ':streamGenerateContent', with: geminiFaults.asList(geminiFaults.unauthorized()) })
  said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
  const [refused, replayed] = generations(stage)
  assert.equal(replayed?.account, refused?.account)
  assert.equal(refreshes(stage), 1)
})

const refreshes = ({ sim }: Stage) => sim.gemini.accounts.reduce((sum, it) => sum + it.refreshes, 0)

scenario('with every account exhausted gemini ends at once and says so', three, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  for (const account of stage.sim.gemini.accounts) account.exhaust()
  const { code, stderr } = await me.run('-p', 'say hi')
  assert.equal(code, 1)
  assert.match(stderr, /Every account of the pool has used up its quota/)
})

const retired = { gemini: [{ id: 'dora' }], upstreams: onboarding(new Map([['dora', 'retired']])) }

scenario('a person whose account Google has retired is told so, and the way out', retired, async (stage) => {
  const me = await gemini(stage, tokenMode(stage.url))
  const { code, stderr } = await me.run('-p', 'say hi')
  assert.equal(code, 1)
  assert.match(stderr, /Google does not serve Gemini Code Assist to this account/)
  assert.match(stderr, /an API key/)
})

const KEY = 'a-long-random-key-of-a-laptop'
const keyed = { ...three, config: { access: { keys: { laptop: KEY } } } }

scenario('an access key travels in the path of the endpoint', keyed, async (stage) => {
  const me = await gemini(stage, tokenMode(`${stage.url}/k/${KEY}`))
  stage.sim.forbid(KEY)
  said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
})

const keys = { geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }] }

scenario('gemini answers in API-key mode, from the next key if one is limited', keys, async (stage) => {
  const me = await gemini(stage, apiKeyMode(stage.url))
  stage.sim.fail({ path: ':streamGenerateContent', with: geminiFaults.dailyQuota() })
  said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
  assert.equal(new Set(generations(stage).map(({ account }) => account)).size, 2)
})

scenario('a key whose plan does not cover the model is passed over', keys, async (stage) => {
  const me = await gemini(stage, apiKeyMode(stage.url))
  const plan = stage.sim.fail({ account: 'gina', with: geminiFaults.plan(), times: Infinity })
  for (let run = 0; run < 2; run++) said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
  assert.ok(plan.hits <= 2, 'the key is not asked again and again')
})

scenario('an empty stream is asked for again at another key, unseen by the client', keys, async (stage) => {
  const me = await gemini(stage, apiKeyMode(stage.url))
  const empty = stage.sim.fail({ path: ':streamGenerateContent', with: geminiFaults.empty() })
  said(await me.run('-p', 'say hi'), 'Hello from the simulator.')
  assert.equal(empty.hits, 1)
  assert.equal(new Set(generations(stage).map(({ account }) => account)).size, 2)
})
