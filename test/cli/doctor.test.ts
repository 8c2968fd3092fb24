import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { examine } from '../../src/cli/doctor/doctor.js'
import type { Problem } from '../../src/cli/doctor/problem.js'
import { startSimulator } from '../../src/simulator/index.js'
import { emptyFolder, type Ended, runCommand, startCommand } from '../kit/command.js'
import { within } from '../kit/pool.js'

/** A home where nothing is wrong: a gateway that runs, and both clients pointed at it. */
class Place {
  /** Beside those of the place. */
  env: Record<string, string> = {}

  private constructor(
    private readonly t: TestContext,
    readonly root: string,
    readonly port: number,
  ) {}

  static async create(t: TestContext, { runs = true } = {}): Promise<Place> {
    const root = await emptyFolder(t)
    const probe = net.createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    const place = new Place(t, root, port)
    const sim = await startSimulator({ codex: [{ id: 'alice' }] })
    await sim.writePool(place.path('home/pool'))
    await sim.close()
    await chmod(place.path('home/pool'), 0o700)
    await place.write('home/codex-pool.config.json', JSON.stringify({ listen: `127.0.0.1:${port}` }))
    const codex = `openai_base_url = "${place.url}/v1"\nchatgpt_base_url = "${place.url}/backend-api"\n`
    await place.write('user/.codex/config.toml', codex)
    await place.write('user/.codex/auth.json', '{}')
    const gemini = `CODE_ASSIST_ENDPOINT=${place.url}\nGOOGLE_GENAI_USE_GCA=true\nGOOGLE_CLOUD_ACCESS_TOKEN=unused\n`
    await place.write('user/.gemini/.env', gemini)
    await place.write('user/.gemini/settings.json', '{"security":{"auth":{"selectedType":"oauth-personal"}}}')
    await place.write('user/.gemini/trustedFolders.json', JSON.stringify({ [root]: 'TRUST_FOLDER' }))
    await place.write('work/.keep', '')
    await place.program('codex-pool', '')
    await place.program('codex', 'echo codex-cli 0.169.0')
    await place.program('ps', '')
    if (runs) await place.start()
    for (const folder of ['user', 'work', 'bin', 'home'])
      await cp(place.path(folder), place.path(`made/${folder}`), {
        recursive: true,
        preserveTimestamps: true,
      })
    return place
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  path(name: string): string {
    return join(this.root, name)
  }

  async write(name: string, text: string): Promise<void> {
    await mkdir(dirname(this.path(name)), { recursive: true })
    await writeFile(this.path(name), text, { mode: 0o600 })
  }

  async change(name: string, from: string | RegExp, to: string): Promise<void> {
    const before = await readFile(this.path(name), 'utf8')
    const after = before.replace(from, to)
    assert.notEqual(after, before)
    await this.write(name, after)
  }

  async program(name: string, script: string): Promise<void> {
    await this.write(`bin/${name}`, `#!/bin/sh\n${script}\n`)
    await chmod(this.path(`bin/${name}`), 0o755)
  }

  #options() {
    const PATH = [this.path('bin'), dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter)
    const env = {
      PATH,
      HOME: this.path('user'),
      XDG_CONFIG_HOME: this.path('user/.config'),
      NO_PROXY: '*',
      CODEX_POOL_HOME: this.path('home'),
      PROXY_DISABLE_REFRESH: '1',
    }
    return { cwd: this.path('work'), env: { ...env, ...this.env } }
  }

  async start(): Promise<void> {
    await within(startCommand(this.t, [], this.#options()).printed(/listening on (http\S+)/))
  }

  /** In this process, which takes a hundredth of the time of one of its own. */
  async examine(): Promise<Problem[]> {
    const { cwd, env } = this.#options()
    const before = { ...process.env }
    for (const name of Object.keys(process.env)) delete process.env[name]
    Object.assign(process.env, env)
    process.chdir(cwd)
    try {
      return await examine({})
    } finally {
      process.chdir('/')
      Object.assign(process.env, before)
    }
  }

  /** As it was made, but for what the running gateway has written. */
  async mend(): Promise<void> {
    this.env = {}
    for (const folder of ['user', 'work', 'bin', 'home']) {
      if (folder !== 'home') await rm(this.path(folder), { recursive: true, force: true })
      await cp(this.path(`made/${folder}`), this.path(folder), { recursive: true, preserveTimestamps: true })
    }
    for (const extra of ['.git', 'codex-pool.config.toml', 'pool/bob.json', 'pool/.gitignore'])
      await rm(this.path(`home/${extra}`), { recursive: true, force: true })
    await chmod(this.path('home/pool'), 0o700)
    await chmod(this.path('home/pool/alice.json'), 0o600)
  }

  say(...args: string[]): Promise<Ended> {
    return runCommand(this.t, ['doctor', ...args], this.#options())
  }
}

const git = (folder: string) => mkdir(join(folder, '.git', 'refs'), { recursive: true })
const jwt = (claims: object) =>
  `eyJhbGciOiJub25lIn0.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`

/** Faults of a set-up, what `doctor` says, and how it goes on. `stopped`: no gateway runs. */
const faults: Record<
  string,
  {
    plant: (place: Place, t: TestContext) => unknown
    code: string
    command: RegExp
    stopped?: boolean
    status?: number
  }
> = {
  'two pools': {
    plant: (place) =>
      cp(place.path('home/pool'), place.path('user/.config/codex-pool/pool'), { recursive: true }).then(
        async () => {
          await rename(place.path('home/pool'), place.path('work/pool'))
          await place.write('work/pool/.gitignore', '*')
          place.env = {
            CODEX_POOL_HOME: '',
            POOL_DIR: '',
            PROXY_LISTEN_ADDR: `127.0.0.1:${place.port}`,
            PROXY_DB_PATH: place.path('home/data/proxy.db'),
          }
        },
      ),
    code: 'two_pools',
    command: /^mv .*work\/pool\/\*\.json .*codex-pool\/pool\/$/,
    status: 4,
  },
  'a gateway that is stopped': {
    plant: (place) => rm(place.path('user/.gemini'), { recursive: true }),
    stopped: true,
    code: 'codex_gateway_stopped',
    command: /^codex-pool service install$/,
  },
  'Codex that asks another port': {
    plant: (place) => place.change('user/.codex/config.toml', `:${place.port}/v1`, ':45/v1'),
    code: 'codex_gateway_stopped',
    command: /^codex-pool setup codex$/,
  },
  'Codex that goes past the pool': {
    plant: (place) => place.write('user/.codex/config.toml', 'model = "gpt-5.5"\n'),
    code: 'codex_past_pool',
    command: /^codex-pool setup codex$/,
    status: 4,
  },
  'Codex whose base address ends in /backend-api/codex': {
    plant: (place) => place.change('user/.codex/config.toml', '/v1', '/backend-api/codex'),
    code: 'codex_past_pool',
    command: /^codex-pool setup codex$/,
  },
  'Codex without chatgpt_base_url': {
    plant: (place) => place.change('user/.codex/config.toml', /chatgpt_base_url.*\n/, ''),
    code: 'codex_backend',
    command: /^codex-pool setup codex$/,
    status: 4,
  },
  'an old Codex': {
    plant: (place) => place.program('codex', 'echo codex-cli 0.110.0'),
    code: 'codex_old_version',
    command: /^codex-pool setup codex$/,
  },
  'a Codex that has never signed in': {
    plant: (place) => rm(place.path('user/.codex/auth.json')),
    code: 'codex_login',
    command: /setup codex --no-login$/,
    status: 4,
  },
  'a profile of Codex that goes elsewhere': {
    plant: (place) => place.write('user/.codex/work.config.toml', 'model_provider = "azure"\n'),
    code: 'codex_profile',
    command: /work\.config\.toml/,
    status: 4,
  },
  'a table with which Codex does not start': {
    plant: (place) => place.change('user/.codex/config.toml', /$/, '[model_providers.openai]\nname = "x"\n'),
    code: 'codex_config',
    command: /config\.toml/,
  },
  OPENAI_BASE_URL: {
    plant: (place) => void (place.env = { OPENAI_BASE_URL: 'http://elsewhere.example' }),
    code: 'codex_variable',
    command: /^unset OPENAI_BASE_URL$/,
    status: 4,
  },
  'a stale app-server of Codex': {
    plant: (place) =>
      place.program(
        'ps',
        'echo "Sat Nov  1 21:31:23 2025 /usr/bin/codex app-server --listen unix:///x"; echo "Sat Nov  1 21:31:23 2025 vi codex.txt"',
      ),
    code: 'codex_stale_server',
    command: /^codex app-server daemon stop$/,
    status: 4,
  },
  'an access key that a client does not send': {
    plant: (place) =>
      place
        .write(
          'home/codex-pool.config.json',
          JSON.stringify({
            listen: `127.0.0.1:${place.port}`,
            access: { keys: { laptop: 'a-key-that-is-long-enough-1' } },
          }),
        )
        .then(() => rm(place.path('user/.gemini'), { recursive: true })),
    code: 'codex_key',
    command: /^codex-pool setup codex$/,
  },
  'Gemini CLI that goes past the pool': {
    plant: (place) => rm(place.path('user/.gemini/.env')),
    code: 'gemini_past_pool',
    command: /^codex-pool setup gemini$/,
    status: 4,
  },
  'Gemini CLI in API-key mode without a key': {
    plant: async (place) => {
      await place.write(
        'user/.gemini/settings.json',
        '{"security":{"auth":{"selectedType":"gemini-api-key"}}}',
      )
      await place.write('user/.gemini/.env', `GOOGLE_GEMINI_BASE_URL=${place.url}\n`)
    },
    code: 'gemini_api_key',
    command: /^codex-pool setup gemini --api-key$/,
  },
  'Gemini CLI without a choice of how to sign in': {
    plant: (place) => rm(place.path('user/.gemini/settings.json')),
    code: 'gemini_auth_type',
    command: /^codex-pool setup gemini$/,
  },
  'Gemini CLI with neither token mode nor login': {
    plant: (place) => place.change('user/.gemini/.env', /GOOGLE_GENAI_USE_GCA.*\n/, ''),
    code: 'gemini_login',
    command: /^codex-pool setup gemini$/,
  },
  'a secret that Gemini CLI sends to Google': {
    plant: (place) => place.change('user/.gemini/.env', '=unused', '=a-key-of-the-pool'),
    code: 'gemini_token_leaks',
    command: /GOOGLE_CLOUD_ACCESS_TOKEN=unused/,
  },
  'a shell that overrules the file of Gemini CLI': {
    plant: (place) => void (place.env = { CODE_ASSIST_ENDPOINT: `http://localhost:${place.port}` }),
    code: 'gemini_variable',
    command: /^unset CODE_ASSIST_ENDPOINT$/,
    status: 4,
  },
  'an .env nearer than that of Gemini CLI': {
    plant: (place) => place.write('work/.env', 'A=1\n'),
    code: 'gemini_nearer_env',
    command: /^gemini --ignore-env$/,
    status: 4,
  },
  'a folder that Gemini CLI does not trust': {
    plant: (place) => place.write('user/.gemini/trustedFolders.json', '{}'),
    code: 'gemini_untrusted',
    command: /TRUST_WORKSPACE=true$/,
    status: 4,
  },
  'a proxy that diverts local traffic': {
    plant: (place) => void (place.env = { HTTPS_PROXY: 'http://proxy.example:3128', NO_PROXY: '' }),
    code: 'diverting_proxy',
    command: /^export NO_PROXY=127\.0\.0\.1,localhost$/,
  },
  'no account': {
    plant: (place) => rm(place.path('home/pool/alice.json')),
    code: 'no_account',
    command: /^codex-pool login codex$/,
  },
  'a file that is no credential': {
    plant: (place) => place.write('home/pool/bob.json', '{'),
    code: 'unusable_file',
    command: /^codex-pool login codex$/,
    status: 4,
  },
  'two files of one login': {
    plant: (place) => cp(place.path('home/pool/alice.json'), place.path('home/pool/bob.json')),
    code: 'shared_login',
    command: /^rm .*\/pool\/bob\.json$/,
    status: 4,
  },
  'a credential that others may read': {
    plant: (place) => chmod(place.path('home/pool/alice.json'), 0o644),
    code: 'open_mode',
    command: /^chmod 600 .*alice\.json$/,
    status: 4,
  },
  'a pool folder that is open': {
    plant: (place) => chmod(place.path('home/pool'), 0o755),
    code: 'open_mode',
    command: /^chmod 700 .*pool$/,
    status: 4,
  },
  'a pool that git takes': {
    plant: async (place) => {
      await git(place.path('home'))
      await mkdir(place.path('home/.git/objects'))
      await place.write('home/.git/HEAD', 'ref: refs/heads/main\n')
      await place.write('home/.git/config', '[core]\n\trepositoryformatversion = 0\n')
    },
    code: 'git_takes_pool',
    command: /^echo '\*' > .*\.gitignore$/,
    status: 4,
  },
  'a configuration in TOML': {
    plant: (place) => place.write('home/codex-pool.config.toml', 'listen = 1'),
    code: 'ignored_config',
    command: /^mv .*\.toml .*\.yaml/,
    status: 4,
  },
  'a configuration in JSONC': {
    plant: (place) => place.write('work/codex-pool.config.jsonc', '{}'),
    code: 'ignored_config',
    command: /^mv .*\.jsonc .*\.json/,
    status: 4,
  },
  'a configuration with a mistake': {
    plant: (place) => place.write('home/codex-pool.config.json', '{"lisen":1}'),
    code: 'unusable_config',
    command: /^codex-pool check$/,
  },
  'another program on the port': {
    plant: async (place, t) => {
      await rm(place.path('user'), { recursive: true })
      const other = http.createServer((_, response) => response.end('<html>')).listen(place.port, '127.0.0.1')
      await once(other, 'listening')
      t.after(() => other.close())
    },
    stopped: true,
    code: 'taken_port',
    command: /^codex-pool --listen 127\.0\.0\.1:\d+$/,
  },
  'a clock that is behind': {
    plant: async (place) => {
      const credential = JSON.parse(await readFile(place.path('home/pool/alice.json'), 'utf8'))
      credential.tokens.note = jwt({ iat: Date.now() / 1_000 + 3_600 })
      await place.write('home/pool/alice.json', JSON.stringify(credential))
    },
    code: 'wrong_clock',
    command: /set-ntp true|sntp/,
  },
  'a gateway of an older version': {
    plant: (place) =>
      place.change('home/data/proxy.db.gateway.json', /"version":"[^"]*"/, '"version":"0.0.1"'),
    code: 'old_gateway',
    command: /^codex-pool service install/,
    status: 4,
  },
}

test('doctor names each fault with the command that mends it, and nothing else', async (t) => {
  const running = await Place.create(t)
  for (const [name, { plant, code, command, stopped, status = 1 }] of Object.entries(faults))
    await t.test(name, async (t) => {
      const place = stopped ? await Place.create(t, { runs: false }) : running
      await plant(place, t)
      const problems = await place.examine().finally(() => place.mend())
      const codes = problems.map((one) => one.code)
      assert.deepEqual(codes, [code], JSON.stringify(problems, null, 1))
      assert.match(problems[0]!.command, command)
      assert.equal(problems[0]!.severity, status === 1 ? 'error' : 'warning')
    })
})

test('a set-up with nothing wrong is one line', async (t) => {
  const place = await Place.create(t)
  assert.deepEqual(await place.say(), { status: 0, output: 'Nothing is wrong.\n' })
})

test('doctor --fix mends what is safe, and only that', async (t) => {
  const place = await Place.create(t)
  const file = place.path('home/pool/alice.json')
  await chmod(file, 0o644)
  await rm(place.path('user/.gemini/.env'))
  const { status, output } = await place.say('--fix')
  assert.equal(status, 4, output)
  assert.match(output, /^mended: .*alice\.json/)
  assert.match(
    output,
    /warning: Gemini CLI does not ask the pool\n {2}why: .*\n {2}do: {2}codex-pool setup gemini/,
  )
  assert.equal((await stat(file)).mode & 0o777, 0o600)
})
