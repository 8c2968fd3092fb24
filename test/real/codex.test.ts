import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { field, type ReplyScript } from '../../src/simulator/index.js'
import { builtin, codex, conversations, readme, turns } from './codex.js'
import { said } from './run.js'
import { scenario, type Stage, type StageOptions } from './stage.js'

const three = { codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }] }

scenario('codex exec answers with the set-up of the README', three, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  said(await me.exec('say hi'), 'Hello from the simulator.')
  assert.equal(turns(stage).length, 1)
})

const http: StageOptions = {
  ...three,
  config: { routes: [{ path: '/v1', provider: 'codex', websocket: false }] },
}

scenario(
  'codex exec answers with its own provider, compressed, where no WebSocket is served',
  http,
  async (stage) => {
    const me = await codex(stage, builtin(stage.url))
    const ended = await me.exec('say hi')
    said(ended, 'Hello from the simulator.')
    assert.doesNotMatch(ended.stderr, /Reconnecting|Falling back/)
    const [turn, ...more] = turns(stage)
    assert.equal(turn?.encoding, 'zstd')
    assert.equal(turn.raw.readUInt32LE(), 0xfd2fb528, 'the bytes of a zstd frame (RFC 8878 §3.1.1)')
    assert.deepEqual([turn.status, more], [200, []])
    assert.ok(stage.sim.requests.every(({ headers }) => headers.upgrade === undefined))
  },
)

const own = {
  codex: [
    { id: 'alice', models: ['gpt-5.5'] },
    { id: 'bob', models: ['gpt-5.5', 'gpt-of-bob'] },
  ],
}

scenario('codex knows the models of every account, and may use each', own, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  for (const model of ['gpt-5.5', 'gpt-of-bob'])
    said(await me.exec('-m', model, 'say hi'), 'Hello from the simulator.')
  const cache = JSON.parse(await readFile(join(me.home, 'models_cache.json'), 'utf8'))
  const slugs = cache.models.map(({ slug }: { slug: string }) => slug)
  assert.deepEqual(slugs, ['gpt-5.5', 'gpt-of-bob'])
  assert.equal(turns(stage).findLast(({ status }) => status === 200)?.account, 'bob')
})

const command = { cmd: 'echo tool-$((40 + 2))' }

/** A model that runs one command and tells what came out. */
function usesATool(call: object): ReplyScript {
  return ({ toolOutputs: [output] }) => {
    if (output === undefined) return [{ reasoning: 'Let me look.' }, call as never]
    return `The tool said ${/tool-\d+/.exec(output)?.[0]}.`
  }
}

scenario('a tool is called and its output goes back to the same account', three, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  const input = `text(JSON.stringify(await tools.exec_command(${JSON.stringify(command)})))`
  stage.sim.reply(usesATool({ custom: 'exec', input }))
  said(await me.exec('use the tool'), 'The tool said tool-42.')
  sameTurnSameAccount(stage)
})

scenario('a tool of a model before GPT-6 works as well', three, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  stage.sim.reply(usesATool({ call: 'exec_command', arguments: command }))
  said(await me.exec('-m', 'gpt-5.5', 'use the tool'), 'The tool said tool-42.')
  sameTurnSameAccount(stage)
})

function sameTurnSameAccount(stage: Stage): void {
  const [first, second] = turns(stage)
  assert.equal(second?.account, first?.account)
  assert.ok(second?.headers['x-codex-turn-state'], 'the turn state goes back to the account that gave it')
  assert.equal(turns(stage).length, 2)
}

scenario('a resumed conversation stays on its account', three, async (stage) => {
  const me = await codex(stage, readme(stage.url))
  stage.sim.reply(({ request, account }) => `${account} has ${inputs(request.json)}`)
  const [, account] = /^(\w+) has/.exec((await me.exec('one')).stdout) ?? []
  // Somebody else in between: a pool that forgets would place the next turn elsewhere.
  const other = await codex(stage, readme(stage.url), { name: 'other' })
  await other.exec('hello')
  const resumed = await me.exec('resume', '--last', 'two')
  assert.match(resumed.stdout, new RegExp(`^${account} has`))
  assert.equal(conversations(stage).length, 2)
  for (const accounts of conversations(stage)) assert.equal(accounts.length, 1)
  assert.ok(turns(stage).at(-1)!.body.includes(`${account} has`), 'the history goes along')
})

const inputs = (body: unknown): number => (field(body, 'input') as unknown[]).length

const KEY = 'a-long-random-key-of-a-laptop'
const keyed = { ...three, config: { access: { keys: { laptop: KEY } } } }

scenario('an access key travels in the path, and no further than the gateway', keyed, async (stage) => {
  const me = await codex(stage, readme(`${stage.url}/k/${KEY}`))
  stage.sim.forbid(KEY)
  said(await me.exec('say hi'), 'Hello from the simulator.')
})
