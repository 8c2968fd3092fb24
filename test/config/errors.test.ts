import assert from 'node:assert/strict'
import { chmodSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ConfigError, resolveConfig, type ConfigContext, type Problem } from '../../config/index.js'
import { folder, load } from '../kit/config-folder.js'

function problemsOf(user: unknown, context: ConfigContext = {}): readonly Problem[] {
  try {
    resolveConfig(user, context)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

const brief = (problems: readonly Problem[]): string[] => problems.map(({ key, code }) => `${key} ${code}`)

const key = 'a-key-of-16-chars-or-more'
const custom = { type: 'custom', upstream: 'https://me.example', authorize: () => ({}) }
const azure = (fields: object): object => ({ providers: { azure: { ...custom, ...fields } } })
const codex = (fields: object): object => ({ providers: { codex: { type: 'codex', ...fields } } })
const routes = (...list: object[]): object => ({ routes: list })
const route = (fields: object): object => routes({ path: '/x', provider: 'codex', ...fields })

/** What is written → the key and code of every problem. */
const table: [user: unknown, ...problems: string[]][] = [
  [{}],
  [undefined, ' not_an_object'],
  [[], ' not_an_object'],
  ['text', ' not_an_object'],

  [{ pooldir: 'x' }, 'pooldir unknown_key'],
  [{ poolDir: 5 }, 'poolDir wrong_type'],
  [{ poolDir: '' }, 'poolDir wrong_type'],
  [{ database: true }, 'database wrong_type'],
  [{ database: false }],
  [{ builtinRoutes: 'no' }, 'builtinRoutes wrong_type'],
  [{ use: ['cors'] }, 'use[0] wrong_type'],
  [{ use: [() => {}] }],
  [{ log: { level: 'loud' } }, 'log.level bad_value'],
  [{ pins: { max: 0 } }, 'pins.max out_of_range'],
  [{ pins: [] }, 'pins wrong_type'],
  [{ quotaPollMs: -1 }, 'quotaPollMs out_of_range'],
  [{ quotaPollMs: 2 ** 31 }, 'quotaPollMs out_of_range'],
  [{ quotaPollMs: 0 }],
  [{ refresh: { enabled: 'yes', leadMs: 1.5 } }, 'refresh.enabled wrong_type', 'refresh.leadMs wrong_type'],
  [{ maxBodyBytes: Number.NaN }, 'maxBodyBytes wrong_type'],
  [{ maxReplayBytes: 10, maxBodyBytes: 9 }, 'maxReplayBytes out_of_range'],
  [{ maxReplayBytes: 10, maxReplayTotalBytes: 9 }, 'maxReplayBytes out_of_range'],

  [{ providers: { mine: true } }, 'providers.mine wrong_type'],
  [{ providers: { mine: undefined } }, 'providers.mine wrong_type'],
  [{ providers: { mine: {} } }, 'providers.mine.type missing_key'],
  [{ providers: { mine: { type: 'custm' } } }, 'providers.mine.type unknown_provider_type'],
  [{ providers: { mine: { type: 5 } } }, 'providers.mine.type unknown_provider_type'],
  [
    { providers: { a: { type: 'custom' } } },
    'providers.a.upstream missing_key',
    'providers.a.authorize missing_key',
  ],
  [{ providers: { b: { type: 'bearer' } } }, 'providers.b.upstream missing_key'],
  [azure({ authorize: 'Bearer x' }), 'providers.azure.authorize wrong_type'],
  [azure({ clasify: () => {} }), 'providers.azure.clasify unknown_key'],
  [azure({ credentials: '../secrets/*.json' }), 'providers.azure.credentials bad_pattern'],
  [azure({ upstream: 'me.example' }), 'providers.azure.upstream bad_address'],
  [azure({ upstream: 'ftp://me.example' }), 'providers.azure.upstream bad_address'],
  [azure({ upstream: 'https://me.example?key=1' }), 'providers.azure.upstream bad_address'],
  [azure({ upstream: 'http://me.example' }), 'providers.azure.upstream insecure_upstream'],
  [azure({ upstream: 'http://localhost.me.example' }), 'providers.azure.upstream insecure_upstream'],
  [azure({ upstream: 'http://10.0.0.1' }), 'providers.azure.upstream insecure_upstream'],
  [azure({ upstream: 'https://me:pass@me.example' }), 'providers.azure.upstream credentials_in_address'],
  [azure({ upstream: 'http://localhost:1/a' })],
  [azure({ upstream: 'http://127.9.9.9:1' })],
  [azure({ upstream: 'http://[::1]:1' })],
  [azure({ proxy: 'proxy' }), 'providers.azure.proxy bad_address'],
  [azure({ proxy: 'proxy:3128' }), 'providers.azure.proxy bad_address'],
  [azure({ proxy: 'socks9://proxy:1080' }), 'providers.azure.proxy bad_address'],
  [azure({ accounts: { a: { proxy: 'ftp://x' } } }), 'providers.azure.accounts.a.proxy bad_address'],
  [azure({ accounts: { a: { prxy: 'x' } } }), 'providers.azure.accounts.a.prxy unknown_key'],
  [codex({ accounts: { a: { proxy: 'socks5://127.0.0.1:1' } } })],
  [azure({ proxy: 'socks5:' }), 'providers.azure.proxy bad_address'],
  [azure({ proxy: 'socks5://me:pass@127.0.0.1:1080' })],
  [azure({ proxy: 'socks5h://proxy.example' })],
  [azure({ proxy: 'http://me:pass@proxy.example:3128' })],
  [codex({ apiKeys: 'sometimes' }), 'providers.codex.apiKeys bad_value'],
  [codex({ credits: 'first' }), 'providers.codex.credits bad_value'],
  [codex({ refreshBase: 'http://me.example' }), 'providers.codex.refreshBase insecure_upstream'],
  [
    { providers: { gemini: { type: 'gemini', oauthClientId: 'x' } } },
    'providers.gemini.oauthClientId oauth_pair',
  ],

  [{ accounts: { 'work_*': { order: 1, reserve: 20, concurrency: 6, group: 'work' } } }],
  [{ accounts: { me: { proxy: 'socks5h://127.0.0.1:1080' } } }],
  [{ accounts: { me: {} } }],
  [{ accounts: ['me'] }, 'accounts wrong_type'],
  [{ accounts: { me: 2 } }, 'accounts.me wrong_type'],
  [{ accounts: { 'work_*': { ordr: 1 } } }, 'accounts["work_*"].ordr unknown_key'],
  [{ accounts: { me: { order: 'first' } } }, 'accounts.me.order wrong_type'],
  [{ accounts: { me: { order: -1 } } }, 'accounts.me.order out_of_range'],
  [{ accounts: { me: { order: 1.5 } } }, 'accounts.me.order wrong_type'],
  [{ accounts: { me: { reserve: 101 } } }, 'accounts.me.reserve out_of_range'],
  [{ accounts: { me: { reserve: '20 %' } } }, 'accounts.me.reserve wrong_type'],
  [{ accounts: { me: { concurrency: 0 } } }, 'accounts.me.concurrency out_of_range'],
  [{ accounts: { me: { proxy: 'proxy:3128' } } }, 'accounts.me.proxy bad_address'],
  [{ accounts: { me: { group: '' } } }, 'accounts.me.group wrong_type'],
  [{ retry: { default: { waitForSlotMs: -1 } } }, 'retry.default.waitForSlotMs out_of_range'],

  [{ strategies: { mine: 'least-used' } }, 'strategies.mine wrong_type'],
  [{ strategies: { sticky: () => undefined } }, 'strategies.sticky shadows_builtin'],
  [{ strategies: { 'round-robin': () => undefined } }, 'strategies.round-robin shadows_builtin'],
  [{ retry: { 'least-used': {} } }, 'retry.least-used shadows_builtin'],
  [{ retry: { default: { attempts: 0 } } }, 'retry.default.attempts out_of_range'],
  [
    { retry: { mine: { attempts: 1.5, atempts: 2 } } },
    'retry.mine.atempts unknown_key',
    'retry.mine.attempts wrong_type',
  ],
  [{ retry: { mine: { waitForCooldownMs: '10s' } } }, 'retry.mine.waitForCooldownMs wrong_type'],

  [{ routes: {} }, 'routes wrong_type'],
  [routes({}), 'routes[0].path missing_key', 'routes[0].provider missing_key'],
  [route({ provider: 'codx' }), 'routes[0].provider unknown_provider'],
  [{ providers: { codex: false }, ...route({}) }, 'routes[0].provider unknown_provider'],
  [route({ strategy: 'least-usd' }), 'routes[0].strategy unknown_strategy'],
  [route({ strategy: { sticky: 'least-usd' } }), 'routes[0].strategy.sticky unknown_strategy'],
  [route({ strategy: { sticky: 'sticky' } }), 'routes[0].strategy.sticky unknown_strategy'],
  [route({ strategy: 5 }), 'routes[0].strategy wrong_type'],
  [route({ strategy: {} }), 'routes[0].strategy.sticky missing_key'],
  [route({ retry: 'patent' }), 'routes[0].retry unknown_retry'],
  [route({ retry: 'default', strategy: 'sticky' })],
  [route({ path: 'v1' }), 'routes[0].path bad_path'],
  [route({ path: '/v1/*' }), 'routes[0].path bad_path'],
  [route({ path: '/healthz' }), 'routes[0].path reserved_path'],
  [route({ path: '/metrics' }), 'routes[0].path reserved_path'],
  [route({ path: '/admin/mine' }), 'routes[0].path reserved_path'],
  [route({ path: '/k/' }), 'routes[0].path reserved_path'],
  [route({ path: '/kind' })],
  [
    routes({ path: '/v1', provider: 'codex' }, { path: '/v1/a', provider: 'codex' }),
    'routes[1].path unreachable_route',
  ],
  [
    routes({ path: '/v1', provider: 'codex' }, { path: '/v1', provider: 'codex' }),
    'routes[1].path unreachable_route',
  ],
  [
    routes({ path: '/a:', provider: 'codex' }, { path: '/a:b', provider: 'codex' }),
    'routes[1].path unreachable_route',
  ],
  [
    routes({ path: '/', provider: 'codex' }, { path: '/a', provider: 'codex' }),
    'routes[1].path unreachable_route',
  ],
  [routes({ path: '/v1', provider: 'codex' }, { path: '/v1beta', provider: 'codex' })],
  // These two share the path: each knows its own requests.
  [routes({ path: '/v1', provider: 'gemini-api-key' }, { path: '/v1', provider: 'codex' })],
  [
    routes({ path: '/v1', provider: 'gemini' }, { path: '/v1', provider: 'codex' }),
    'routes[1].path unreachable_route',
  ],
  [routes({ path: '/v1/', provider: 'codex' }, { path: '/v1', provider: 'codex' })],

  [{ listen: '8989' }, 'listen bad_listen'],
  [{ listen: ':8989' }, 'listen bad_listen'],
  [{ listen: '127.0.0.1:65536' }, 'listen bad_listen'],
  [{ listen: '::1:8989' }, 'listen bad_listen'],
  [{ listen: '[nope]:8989' }, 'listen bad_listen'],
  [{ listen: '[::1]:0' }],
  [{ listen: 'localhost:8989' }],
  [{ listen: '0.0.0.0:8989' }, 'listen access_required'],
  [{ listen: '[::]:8989', access: { keys: undefined } }, 'listen access_required'],
  [{ listen: '0.0.0.0:8989', access: { keys: false } }],
  [{ listen: '0.0.0.0:8989', access: 'host-app' }],
  [{ listen: '0.0.0.0:8989', access: { keys: { laptop: key } } }],

  [{ access: 'open' }, 'access wrong_type'],
  [{ access: { keys: {} } }, 'access.keys bad_value'],
  [{ access: { keys: true } }, 'access.keys wrong_type'],
  [{ access: { keys: { laptop: 'short' } } }, 'access.keys.laptop bad_key'],
  [{ access: { keys: { laptop: 'with/slash/0123456789' } } }, 'access.keys.laptop bad_key'],
  [{ access: { keys: { laptop: undefined } } }, 'access.keys.laptop wrong_type'],
  [{ access: { keys: { laptop: key, desktop: key } } }, 'access.keys.desktop duplicate_key'],
  [{ access: { hosts: ['box.example:8989'] } }, 'access.hosts[0] bad_host'],
  [
    { access: { origins: ['https://a.example/path', '*'] } },
    'access.origins[0] bad_origin',
    'access.origins[1] bad_origin',
  ],
  [{ access: { hosts: ['box.example'], origins: ['https://a.example'] } }],
]

describe('what is written is answered by key and code', () => {
  for (const [user, ...expected] of table) {
    const shown = JSON.stringify(user, (_, value: unknown) =>
      typeof value === 'function' ? 'function' : value,
    )
    test(`${shown}: ${expected.join(', ') || 'fine'}`, () => {
      assert.deepEqual(brief(problemsOf(user)).sort(), [...expected].sort())
    })
  }
})

describe('an error', () => {
  test('names key, value, choices, file and code in one line', () => {
    const context = { file: '/etc/pool/codex-pool.config.ts', cwd: '/etc/pool' }
    const [problem] = problemsOf(route({ strategy: 'least-usd' }), context)
    assert.equal(
      new ConfigError([problem as Problem]).message,
      'routes[0].strategy: "least-usd" is not declared. Declared: least-used, pressure, round-robin, sticky. ' +
        'Did you mean "least-used"? (codex-pool.config.ts) [unknown_strategy]',
    )
  })

  test('suggests the option that was meant', () => {
    assert.match(problemsOf({ pooldir: 'x' })[0]?.message ?? '', /Did you mean "poolDir"\?/)
    assert.match(problemsOf(codex({ type: 'codx' }))[0]?.message ?? '', /Did you mean "codex"\?/)
    assert.doesNotMatch(problemsOf({ zebra: 'x' })[0]?.message ?? '', /Did you mean/)
  })

  test('does not come alone: all problems of file, environment and flags are told at once', () => {
    const user = {
      listen: 'nowhere',
      pooldir: 'x',
      ...routes({ path: '/x', provider: 'codx', retry: 'patent' }),
    }
    const problems = problemsOf(user, { env: { PROXY_MAX_ATTEMPTS: 'many' }, flags: { poolDir: '' } })
    assert.deepEqual(problems.map(({ file, key }) => `${file}: ${key}`).sort(), [
      'command line: --pool-dir',
      'config object: listen',
      'config object: pooldir',
      'config object: routes[0].provider',
      'config object: routes[0].retry',
      'environment: PROXY_MAX_ATTEMPTS',
    ])
    assert.equal(new ConfigError(problems).message.split('\n').length, problems.length)
  })

  test('says which layer opened the gateway to the network, and how to close it', () => {
    const fromEnvironment = problemsOf({}, { env: { PROXY_LISTEN_ADDR: '0.0.0.0:1' } })
    assert.deepEqual(brief(fromEnvironment), ['PROXY_LISTEN_ADDR access_required'])
    assert.match(fromEnvironment[0]?.message ?? '', /access\.keys/)
    const fromFlags = problemsOf({ listen: '127.0.0.1:1' }, { flags: { listen: '0.0.0.0:1' } })
    assert.deepEqual(brief(fromFlags), ['--listen access_required'])
  })

  test('names the variable whose value cannot be used', () => {
    const env = {
      PROXY_LISTEN_ADDR: '8989',
      PROXY_MAX_ATTEMPTS: '0',
      PROXY_DISABLE_REFRESH: 'yes',
      PROXY_DEBUG: '2',
      UPSTREAM_WHAM_BASE: 'http://mirror.example',
      GEMINI_OAUTH_CLIENT_ID: 'id-without-secret',
    }
    assert.deepEqual(brief(problemsOf({}, { env })), [
      'PROXY_LISTEN_ADDR bad_listen',
      'PROXY_MAX_ATTEMPTS out_of_range',
      'PROXY_DISABLE_REFRESH bad_value',
      'PROXY_DEBUG bad_value',
      'UPSTREAM_WHAM_BASE insecure_upstream',
      'GEMINI_OAUTH_CLIENT_ID oauth_pair',
    ])
  })

  test('names a proxy of the environment that cannot be used, without its password', () => {
    const env = {
      HTTPS_PROXY: 'ftp://me:Sesame0pen@proxy.example',
      all_proxy: 'http://:80',
      ALL_PROXY: 'proxy.example:3128',
      https_proxy: '',
    }
    const problems = problemsOf({}, { env })
    assert.deepEqual(brief(problems), ['HTTPS_PROXY bad_address', 'all_proxy bad_address'])
    assert.match(problems[0]?.message ?? '', /socks5h/)
    assert.ok(!JSON.stringify(problems).includes('Sesame0pen'))
  })

  test('never shows what may be a secret', () => {
    const secret = 'Sesame0pen'
    const wrong: unknown[] = [
      { access: { keys: { laptop: secret } } },
      { access: { keys: secret } },
      { access: secret },
      { access: { keys: { 'sk-Sesame0pen': 'laptop' } } },
      { providers: { gemini: { type: 'gemini', oauthClientSecret: [secret] } } },
      azure({ upstream: `https://me:${secret}@me.example` }),
      azure({ upstream: `http://me.example/?key=${secret}` }),
      azure({ proxy: `me:${secret}@proxy.example` }),
      { listen: `sk-${secret}` },
    ]
    for (const user of wrong) {
      const problems = problemsOf(user)
      assert.notEqual(problems.length, 0)
      assert.ok(!JSON.stringify(problems).includes(secret), JSON.stringify(problems))
    }
  })
})

describe('a file that cannot be used', () => {
  async function rejection(
    cwd: string,
    file?: string,
  ): Promise<Problem & { message: string; whole: string }> {
    const error: unknown = await load(cwd, { file }).then(
      () => assert.fail('it was taken'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof ConfigError, String(error))
    return { ...(error.problems[0] as Problem), whole: error.message }
  }

  const name = 'codex-pool.config.ts'

  test('that was named and is not there', async (t) => {
    const problem = await rejection(folder(t, {}), 'elsewhere.ts')
    assert.equal(problem.code, 'config_not_found')
    assert.equal(problem.file, 'elsewhere.ts')
  })

  test('of a kind that is not known, or a folder', async (t) => {
    const cwd = folder(t, { 'pool.toml': 'a = 1', 'folder/file': '' })
    assert.equal((await rejection(cwd, 'pool.toml')).code, 'config_unreadable')
    assert.equal((await rejection(cwd, 'folder')).code, 'config_unreadable')
  })

  const mistakes: [name: string, text: string, file: string][] = [
    ['codex-pool.config.ts', 'export default {\n  use: [1, 2\n  poolDir: 3,\n}', 'codex-pool.config.ts:3:3'],
    ['codex-pool.config.json', '{\n  "poolDir": "a"\n  "listen": "b"\n}', 'codex-pool.config.json:3:3'],
    ['codex-pool.config.yaml', 'poolDir: a\nlisten: [b\nuse: c: d', 'codex-pool.config.yaml:3:1'],
  ]
  for (const [file, text, place] of mistakes) {
    test(`by its syntax: ${file} is told with line, column and a frame`, async (t) => {
      const problem = await rejection(folder(t, { [file]: text }))
      assert.equal(problem.code, 'config_syntax')
      assert.equal(problem.file, place)
      assert.match(problem.frame ?? '', /^> {4}3 \| .*\n +\| +\^/m)
      assert.ok(problem.whole.includes(problem.frame ?? '?'))
    })
  }

  test('by its syntax shows no key that stands beside the mistake', async (t) => {
    const files: Record<string, string> = {
      'a.ts': `export default {\n access: { keys: { laptop: '${key}' } }\n poolDir: '${key}\n}`,
      'a.json': `{\n "access": { "keys": { "laptop": "${key}" } }\n "poolDir": x }`,
      'b.json': `{ "access": { "keys": { "laptop": "${key}" } }, x }`,
      'a.yaml': `access:\n  keys:\n    laptop: ${key}\n    desktop: [${key}\npoolDir: x: y`,
    }
    const cwd = folder(t, files)
    for (const file of Object.keys(files)) {
      const problem = await rejection(cwd, file)
      assert.equal(problem.code, 'config_syntax')
      assert.ok(!JSON.stringify(problem).includes(key), problem.whole)
    }
  })

  test('because it throws, also when what it throws looks like a missing file', async (t) => {
    const text = `import { readFileSync } from 'node:fs'\n\nexport default { poolDir: readFileSync('missing', 'utf8') }`
    const problem = await rejection(folder(t, { [name]: text }))
    assert.equal(problem.code, 'config_threw')
    assert.match(problem.file, /^codex-pool\.config\.ts:3:\d+$/)
    const fromFunction = await rejection(
      folder(t, { [name]: `export default () => {\n  throw new Error('no luck')\n}` }),
    )
    assert.equal(fromFunction.code, 'config_threw')
    assert.match(fromFunction.whole, /no luck/)
  })

  const nothing: Record<string, string> = {
    'codex-pool.config.ts': 'const config = {}',
    'codex-pool.config.mjs': 'export default null',
    'codex-pool.config.json': '',
    'codex-pool.config.yaml': '# later',
  }
  for (const [file, text] of Object.entries(nothing)) {
    test(`because it gives nothing: ${file} holding ${JSON.stringify(text)}`, async (t) => {
      assert.equal((await rejection(folder(t, { [file]: text }))).code, 'config_empty')
    })
  }

  test('because it gives something else than an object', async (t) => {
    const problem = await rejection(folder(t, { [name]: 'export default 42' }))
    assert.equal(problem.code, 'not_an_object')
    assert.equal(problem.file, name)
  })

  test('because it is a link to a file that is gone is not passed over', async (t) => {
    for (const place of [name, '.codex-poolrc', 'package.json']) {
      const cwd = folder(t, {})
      symlinkSync(join(cwd, 'gone'), join(cwd, place))
      const problem = await rejection(cwd)
      assert.deepEqual([problem.code, problem.file], ['config_unreadable', place])
      assert.match(problem.whole, /is a link to a file that is not there/)
      assert.equal((await rejection(cwd, place)).file, place)
    }
  })

  test('because it may not be read is not passed over', { skip: process.getuid?.() === 0 }, async (t) => {
    const cwd = folder(t, { [name]: 'export default {}' })
    chmodSync(join(cwd, name), 0)
    assert.equal((await rejection(cwd)).code, 'config_unreadable')
  })
})
