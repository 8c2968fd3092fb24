import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { client } from './clients.js'
import { codex, turns } from './codex.js'
import { gemini, generations } from './gemini.js'
import { run, type Run, said } from './run.js'
import { scenario, type Stage } from './stage.js'
import { openTerminal } from './terminal.js'

interface Person {
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** `codex-pool setup …`, in a person's own folder. */
async function setup(stage: Stage, { cwd, env }: Person, ...args: string[]): Promise<Run> {
  const main = join(import.meta.dirname, '../../src/cli/bin.js')
  const ended = await run(process.execPath, [main, '--listen', new URL(stage.url).host, 'setup', ...args], {
    cwd,
    env,
  })
  stage.runs.push(ended)
  assert.deepEqual({ code: ended.code, stderr: ended.stderr }, { code: 0, stderr: '' })
  return ended
}

const two = { codex: [{ id: 'alice' }, { id: 'bob' }] }
const CONFIG = `# mine
model_provider = "azure" # work

[model_providers.azure]
name = "Azure"
base_url = "http://127.0.0.1:9"

[features]
memories = false # no final line end`

for (const [form, overSocket] of [
  [[], true],
  [['--provider'], false],
] as const)
  scenario(
    `codex answers after "setup ${['codex', ...form].join(' ')}", and --undo leaves no trace`,
    two,
    async (stage) => {
      const me = await codex(stage, CONFIG)
      const file = join(me.home, 'config.toml')
      await setup(stage, me, 'codex', ...form)
      said(await me.exec('say hi'), 'Hello from the simulator.')
      assert.equal(stage.sim.requests.filter(({ status }) => status === 101).length, overSocket ? 1 : 0)
      assert.equal(turns(stage).length, overSocket ? 0 : 1)
      await setup(stage, me, 'codex', '--undo')
      assert.equal(await readFile(file, 'utf8'), CONFIG)
    },
  )

scenario('a codex that knows only the form as a provider gets that form', two, async (stage) => {
  const me = await codex(stage, '', { version: 'codex-0.100' })
  const { stdout } = await setup(stage, me, 'codex')
  assert.match(stdout, /Codex 0\.100\.0 is installed/)
  // The list of models is asked of chatgpt.com again and again, which takes time where it cannot be reached.
  said(await me.exec('-c', 'features.remote_models=false', 'say hi'), 'Hello from the simulator.')
  assert.equal(turns(stage).length, 1)
})

scenario('what codex itself has written since stays after --undo', two, async (stage) => {
  const me = await codex(stage, CONFIG)
  const file = join(me.home, 'config.toml')
  await setup(stage, me, 'codex')
  const added = await run(client('codex'), ['mcp', 'add', 'mine', '--', 'true'], me)
  assert.equal(added.code, 0, added.stderr)
  await setup(stage, me, 'codex', '--undo')
  assert.equal(await readFile(file, 'utf8'), `${CONFIG}\n\n[mcp_servers.mine]\ncommand = "true"\n`)
})

const KEY = 'a-long-random-key-of-a-laptop'
const access = { keys: { laptop: KEY } }

scenario('the set-up brings the access key along', { ...two, config: { access } }, async (stage) => {
  const me = await codex(stage, '')
  stage.sim.forbid(KEY)
  await writeFile(join(me.cwd, 'codex-pool.config.json'), JSON.stringify({ access }))
  const { stdout } = await setup(stage, me, 'codex')
  assert.ok(!stdout.includes(KEY))
  said(await me.exec('say hi'), 'Hello from the simulator.')
})

scenario(
  'who has never signed in to codex works with --no-login, in the terminal too',
  two,
  async (stage) => {
    const home = join(stage.folder, 'newcomer')
    const me = {
      cwd: join(home, 'work'),
      folder: stage.folder,
      env: { PATH: process.env.PATH ?? '', HOME: home, TERM: 'xterm-256color', ...stage.outside.env },
    }
    await mkdir(me.cwd, { recursive: true })
    const exec = async (): Promise<Run> => {
      const ended = await run(client('codex'), ['exec', '--skip-git-repo-check', 'say hi'], me)
      stage.runs.push(ended)
      return ended
    }
    assert.match((await setup(stage, me, 'codex')).stdout, /no login .* --no-login/)
    said(await exec(), 'Hello from the simulator.')
    await setup(stage, me, 'codex', '--no-login')
    said(await exec(), 'Hello from the simulator.')
    await inTerminal(/Hello from the simulator\./)

    async function inTerminal(pattern: RegExp): Promise<void> {
      const terminal = await openTerminal([client('codex'), '--no-daemon', 'say hi'], me)
      try {
        await terminal.see(pattern)
      } finally {
        await terminal.close()
      }
    }
  },
)

const pool = { gemini: [{ id: 'g1' }], geminiApiKeys: [{ id: 'k1' }] }
for (const [name, args] of [
  ['Code Assist', []],
  ['API keys', ['--api-key']],
] as const)
  scenario(
    `gemini answers after "setup gemini", over ${name}, and --undo leaves no trace`,
    pool,
    async (stage) => {
      const mine = { selectedType: 'vertex-ai', env: {}, secret: 'nothing-that-is-sent' }
      const me = await gemini(stage, mine)
      const home = join(me.cwd, '..')
      const settings = join(home, '.gemini', 'settings.json')
      const before = await readFile(settings, 'utf8')
      const person = { cwd: me.cwd, env: { PATH: process.env.PATH ?? '', HOME: home } }
      await setup(stage, person, 'gemini', ...args)
      const ended = await me.run('-p', 'say hi')
      assert.deepEqual([ended.code, ended.stdout.trim()], [0, 'Hello from the simulator.'])
      assert.equal(generations(stage).length, 1)
      await setup(stage, person, 'gemini', '--undo')
      assert.equal(await readFile(settings, 'utf8'), before)
    },
  )
