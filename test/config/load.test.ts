import assert from 'node:assert/strict'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { describeConfig, resolveConfig } from '../../config/index.js'
import { folder, load } from '../kit/config-folder.js'

const listenOn = (port: number): string => `{ "listen": "127.0.0.1:${port}" }`

describe('where a configuration is found', () => {
  const forms: Record<string, string> = {
    'codex-pool.config.ts': `export default { listen: '127.0.0.1:7001' as string }`,
    'codex-pool.config.mts': `export default { listen: '127.0.0.1:7001' as string }`,
    'codex-pool.config.cts': `module.exports = { listen: '127.0.0.1:7001' as string }`,
    'codex-pool.config.js': `export default { listen: '127.0.0.1:7001' }`,
    'codex-pool.config.mjs': `export default { listen: '127.0.0.1:7001' }`,
    'codex-pool.config.cjs': `module.exports = { listen: '127.0.0.1:7001' }`,
    'codex-pool.config.json': listenOn(7001),
    'codex-pool.config.yaml': 'listen: 127.0.0.1:7001',
    'codex-pool.config.yml': 'listen: 127.0.0.1:7001',
    '.codex-poolrc': 'listen: 127.0.0.1:7001',
    '.codex-poolrc.json': listenOn(7001),
    '.codex-poolrc.ts': `export default { listen: '127.0.0.1:7001' as string }`,
    'package.json': `{ "name": "app", "codex-pool": ${listenOn(7001)} }`,
  }
  for (const [name, text] of Object.entries(forms)) {
    test(`${name} is found in the working directory and can be named`, async (t) => {
      const cwd = folder(t, { [name]: text })
      const found = await load(cwd)
      assert.equal(found.file, join(cwd, name))
      assert.equal(found.listen.port, 7001)
      assert.equal((await load(cwd, { file: name })).listen.port, 7001)
      writeFileSync(join(cwd, name), text.replace('7001', '7002'))
      assert.equal((await load(cwd)).listen.port, 7002, 'a changed file is read again')
    })
  }

  test('with none the built-in defaults run', async (t) => {
    const cwd = folder(t, { 'package.json': '{ "name": "app" }' })
    const config = await load(cwd)
    assert.equal(config.file, undefined)
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 8989 })
    assert.equal(config.poolDir, join(cwd, 'pool'))
    assert.equal(config.database, join(cwd, 'data/proxy.db'))
  })

  test('a folder above is not searched', async (t) => {
    const root = folder(t, { 'codex-pool.config.json': listenOn(7001), 'inner/README': '' })
    assert.equal((await load(join(root, 'inner'))).listen.port, 8989)
  })

  test('codex-pool.config.ts comes before every other', async (t) => {
    const cwd = folder(t, { ...forms, 'codex-pool.config.ts': `export default { listen: '127.0.0.1:7002' }` })
    assert.equal((await load(cwd)).listen.port, 7002)
  })
})

describe('a file that another tool wrote, linked or shares', () => {
  const mark = '\uFEFF'

  test('a linked configuration is found, and imports what lies beside the real file', async (t) => {
    const root = folder(t, {
      'real/port.ts': 'export const port = 7010',
      'real/conf.ts': `import { port } from './port'; export default { listen: '127.0.0.1:' + port }`,
      'real/conf.mjs': `import { port } from './port.ts'; export default { listen: '127.0.0.1:' + port }`,
      'app/README': '',
    })
    for (const ending of ['ts', 'mjs']) {
      const link = join(root, `app/codex-pool.config.${ending}`)
      symlinkSync(join(root, `real/conf.${ending}`), link)
      const config = await load(join(root, 'app'))
      assert.equal(config.listen.port, 7010)
      assert.equal(config.file, link)
      assert.equal(config.poolDir, join(root, 'app/pool'), 'paths are relative to the link')
      assert.equal((await load(root, { file: `real/conf.${ending}` })).poolDir, join(root, 'real/pool'))
      rmSync(link)
    }
  })

  for (const [name, text] of Object.entries({
    'codex-pool.config.json': listenOn(7011),
    'codex-pool.config.yaml': 'listen: 127.0.0.1:7011',
    '.codex-poolrc': 'listen: 127.0.0.1:7011',
    'codex-pool.config.ts': `export default { listen: '127.0.0.1:7011' as string }`,
    'codex-pool.config.mjs': `export default { listen: '127.0.0.1:7011' }`,
    'package.json': `{ "codex-pool": ${listenOn(7011)} }`,
  }))
    test(`a byte-order mark at the head of ${name} changes nothing`, async (t) => {
      assert.equal((await load(folder(t, { [name]: mark + text }))).listen.port, 7011)
    })

  test('a byte-order mark at the head of a file that a config imports changes nothing', async (t) => {
    const cwd = folder(t, {
      'port.ts': `${mark}export const port: number = 7012`,
      'codex-pool.config.ts': `${mark}import { port } from './port'; export default { listen: '127.0.0.1:' + port }`,
    })
    assert.equal((await load(cwd)).listen.port, 7012)
  })

  test('YAML merge keys are merged', async (t) => {
    const yaml =
      'retry:\n  base: &base { attempts: 6, waitForCooldownMs: 10 }\n  patient:\n    <<: *base\n    attempts: 9'
    const { retry } = await load(folder(t, { 'codex-pool.config.yaml': yaml }))
    assert.deepEqual([retry['patient']?.attempts, retry['patient']?.waitForCooldownMs], [9, 10])
  })

  test('a package.json that cannot be parsed is passed over, unless our key is in it', async (t) => {
    const cwd = folder(t, { 'package.json': '{ "dependencies": { "codex-pool": "1.0.0" }, }' })
    assert.equal((await load(cwd)).listen.port, 8989)
    writeFileSync(join(cwd, 'package.json'), `{ "codex-pool": ${listenOn(7013)}, }`)
    await assert.rejects(load(cwd), /package\.json:1:\d+: is not JSON/)
  })
})

describe('a configuration in TypeScript', () => {
  test('runs where no codex-pool is installed, with enums and relative imports', async (t) => {
    const cwd = folder(t, {
      'port.ts': 'export enum Port { main = 7003 }',
      'codex-pool.config.ts': `
        import { defineConfig } from 'codex-pool'
        import { Port } from './port'
        export default defineConfig({ listen: \`127.0.0.1:\${Port.main}\` })`,
    })
    assert.equal((await load(cwd)).listen.port, 7003)
  })

  test('gets the running codex-pool, not a second copy', async (t) => {
    const cwd = folder(t, {
      'codex-pool.config.ts': `import { mark } from 'codex-pool'; export default { use: [mark] }`,
    })
    const mark = (): void => {}
    const config = await load(cwd, { ownModules: { 'codex-pool': { mark } } })
    assert.equal(config.use[0], mark)
  })

  test('is read anew at every load, with what it imports', async (t) => {
    const cwd = folder(t, {
      'port.ts': 'export const port = 7004',
      'codex-pool.config.ts': `import { port } from './port'; export default { listen: '127.0.0.1:' + port }`,
    })
    assert.equal((await load(cwd)).listen.port, 7004)
    writeFileSync(join(cwd, 'port.ts'), 'export const port = 7005')
    assert.equal((await load(cwd)).listen.port, 7005)
  })

  test('may export a function, also an async one', async (t) => {
    const cwd = folder(t, {
      'codex-pool.config.ts': `export default async () => ({ listen: '127.0.0.1:7006' })`,
    })
    assert.equal((await load(cwd)).listen.port, 7006)
  })
})

describe('flags, environment, file, defaults', () => {
  const file = `{ "listen": "127.0.0.1:1", "poolDir": "./file", "database": "./file.db", "retry": { "default": { "attempts": 7 } } }`

  test('a flag beats the environment, the environment the file, the file the default', async (t) => {
    const cwd = folder(t, { 'codex-pool.config.json': file })
    const env = { PROXY_LISTEN_ADDR: '127.0.0.1:2', PROXY_MAX_ATTEMPTS: '5' }
    assert.equal((await load(cwd)).listen.port, 1)
    assert.equal((await load(cwd, { env })).listen.port, 2)
    assert.equal((await load(cwd, { env, flags: { listen: '127.0.0.1:3' } })).listen.port, 3)
    assert.equal((await load(cwd)).retry['default']?.attempts, 7)
    assert.equal((await load(cwd, { env })).retry['default']?.attempts, 5)
  })

  test('paths of a file are relative to it, those of flags and environment to the working directory', async (t) => {
    const cwd = folder(t, { 'etc/codex-pool.config.json': file, 'etc/empty.json': '{}' })
    const named = 'etc/codex-pool.config.json'
    const fromFile = await load(cwd, { file: named })
    assert.equal(fromFile.poolDir, join(cwd, 'etc/file'))
    assert.equal(fromFile.database, join(cwd, 'etc/file.db'))
    const over = await load(cwd, {
      file: named,
      env: { POOL_DIR: './env' },
      flags: { database: './flag.db' },
    })
    assert.equal(over.poolDir, join(cwd, 'env'))
    assert.equal(over.database, join(cwd, 'flag.db'))
    assert.equal((await load(cwd, { file: 'etc/empty.json' })).poolDir, join(cwd, 'etc/pool'))
  })

  test('every variable has its place, and an empty one is none', async (t) => {
    const config = await load(folder(t, {}), {
      env: {
        PROXY_LISTEN_ADDR: '',
        PROXY_DISABLE_REFRESH: '1',
        PROXY_DEBUG: '1',
        CODEX_HOME: '/somewhere/codex',
        UPSTREAM_GEMINI_LOGIN_BASE: 'http://localhost:2/',
        UPSTREAM_RESPONSES_BASE: 'http://127.0.0.1:1/a/',
        UPSTREAM_WHAM_BASE: 'http://127.0.0.1:1/b',
        UPSTREAM_REFRESH_BASE: 'http://127.0.0.1:1/c',
        UPSTREAM_OPENAI_BASE: 'http://127.0.0.1:1/d',
        UPSTREAM_GEMINI_BASE: 'http://localhost:1',
        UPSTREAM_GEMINI_REFRESH_BASE: 'http://[::1]:1',
        UPSTREAM_GEMINI_API_BASE: 'https://mirror.example',
        GEMINI_OAUTH_CLIENT_ID: 'an-id',
        GEMINI_OAUTH_CLIENT_SECRET: 'a-secret',
      },
    })
    assert.equal(config.listen.port, 8989)
    assert.equal(config.refresh.enabled, false)
    assert.equal(config.log.level, 'debug')
    assert.deepEqual(config.providers, {
      codex: {
        type: 'codex',
        apiKeys: 'when-needed',
        credits: 'last',
        adapt: true,
        allow: [],
        codexHome: resolve('/somewhere/codex'),
        responsesBase: 'http://127.0.0.1:1/a',
        whamBase: 'http://127.0.0.1:1/b',
        refreshBase: 'http://127.0.0.1:1/c',
        openaiBase: 'http://127.0.0.1:1/d',
      },
      gemini: {
        type: 'gemini',
        upstream: 'http://localhost:1',
        refreshBase: 'http://[::1]:1',
        loginBase: 'http://localhost:2',
        oauthClientId: 'an-id',
        oauthClientSecret: 'a-secret',
      },
      'gemini-api-key': { type: 'gemini-api-key', upstream: 'https://mirror.example' },
    })
  })

  test('a variable that is 0 undoes nothing that the file says', () => {
    const user = { refresh: { enabled: false }, log: { level: 'debug' } }
    const config = resolveConfig(user, { env: { PROXY_DISABLE_REFRESH: '0', PROXY_DEBUG: '0' } })
    assert.equal(config.refresh.enabled, false)
    assert.equal(config.log.level, 'debug')
  })
})

describe('what comes of it', () => {
  const paths = (user: object): string[] => resolveConfig(user).routes.map(({ path }) => path)
  const builtin = [
    '/v1internal:',
    '/v1beta',
    '/v1alpha',
    '/upload/v1beta',
    '/upload/v1alpha',
    '/upload/v1',
    '/download/v1beta',
    '/download/v1alpha',
    '/download/v1',
    '/ws/google.ai.',
    '/v1',
    '/v1',
    '/responses',
    '/backend-api',
    '/api/codex',
    '/oauth/token',
  ]

  test("the user's routes come first and the built-in ones follow, but for those that they cover", () => {
    assert.deepEqual(paths({}), builtin)
    const own = { path: '/v1', provider: 'codex' }
    const others = builtin.filter((path) => path !== '/v1')
    assert.deepEqual(paths({ routes: [own] }).sort(), ['/v1', '/v1', ...others].sort())
    const custom = { providers: { mine: { type: 'bearer' as const, upstream: 'https://mine.example' } } }
    assert.deepEqual(paths({ ...custom, routes: [{ path: '/v1', provider: 'mine' }] }), ['/v1', ...others])
    assert.deepEqual(paths({ routes: [own], builtinRoutes: false }), ['/v1'])
    assert.deepEqual(paths({ routes: [{ path: '/', provider: 'codex' }] }), ['/'])
  })

  test('a built-in provider that is taken away takes its routes along', () => {
    const config = resolveConfig({ providers: { gemini: false, 'gemini-api-key': false } })
    assert.deepEqual(Object.keys(config.providers), ['codex'])
    assert.equal(config.routes[0]?.path, '/v1')
  })

  test('a strategy becomes a name and whether a conversation stays', () => {
    const strategy = (written?: unknown): unknown => {
      const routes = [{ path: '/x', provider: 'codex', strategy: written }]
      const { strategy, sticky } = resolveConfig({ routes }).routes[0] ?? {}
      return { strategy, sticky }
    }
    assert.deepEqual(strategy(), { strategy: 'pressure', sticky: true })
    assert.deepEqual(strategy('sticky'), { strategy: 'pressure', sticky: true })
    assert.deepEqual(strategy({ sticky: 'round-robin' }), { strategy: 'round-robin', sticky: true })
    assert.deepEqual(strategy('round-robin'), { strategy: 'round-robin', sticky: false })
  })

  test('an entry under a built-in name changes the fields it names, and undefined is not a value', () => {
    const codex = { type: 'codex', apiKeys: 'always', whamBase: undefined }
    assert.deepEqual(resolveConfig({ providers: { codex } }).providers['codex'], {
      ...resolveConfig({}).providers['codex'],
      apiKeys: 'always',
    })
  })

  test('a provider that is an instance of a class keeps its methods', () => {
    class Azure {
      type = 'custom'
      upstream = 'https://me.example'
      authorize(): Record<string, string> {
        return {}
      }
    }
    const azure = new Azure()
    assert.equal(resolveConfig({ providers: { azure } }).providers['azure'], azure)
  })

  test('a retry policy is filled from the defaults', () => {
    assert.deepEqual(resolveConfig({ retry: { patient: { attempts: 6 } } }).retry, {
      default: {
        attempts: 3,
        waitForCooldownMs: 0,
        waitForSlotMs: 10_000,
        connectTimeoutMs: 10_000,
        headersTimeoutMs: 300_000,
        idleTimeoutMs: 600_000,
      },
      patient: {
        attempts: 6,
        waitForCooldownMs: 0,
        waitForSlotMs: 10_000,
        connectTimeoutMs: 10_000,
        headersTimeoutMs: 300_000,
        idleTimeoutMs: 600_000,
      },
    })
  })

  test('who only lowers the largest body lowers what is kept of it', () => {
    assert.equal(resolveConfig({ maxBodyBytes: 1000 }).maxReplayBytes, 1000)
  })

  test('an IPv6 address is listened on without its brackets', () => {
    assert.deepEqual(resolveConfig({ listen: '[::1]:0' }).listen, { host: '::1', port: 0 })
  })
})

test('what is shown of a configuration is JSON and holds no secret', () => {
  const key = 'a-key-that-nobody-sees'
  const shown = describeConfig(
    resolveConfig({
      strategies: { first: (accounts: readonly unknown[]) => accounts[0] },
      access: { keys: { laptop: key } },
      providers: {
        codex: { type: 'codex', proxy: 'http://me:hunter2@proxy.example:3128' },
        gemini: { type: 'gemini', oauthClientId: 'an-id', oauthClientSecret: 'hushhush' },
      },
    }),
  )
  const text = JSON.stringify(shown)
  for (const secret of [key, 'hunter2', 'hushhush']) assert.ok(!text.includes(secret), secret)
  assert.match(text, /"laptop":"\*\*\*"/)
  assert.match(text, /"first":"\[function first\]"/)
  assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(shown)))
})
