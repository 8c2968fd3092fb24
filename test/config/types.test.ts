import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { defineConfig, resolveConfig, type UserConfig } from '../../config/index.js'
import { folder, load } from '../kit/config-folder.js'

const root = packageRoot(dirname(fileURLToPath(import.meta.url)))

function packageRoot(from: string): string {
  return existsSync(join(from, 'tsconfig.json')) ? from : packageRoot(dirname(from))
}

/** The example of the manual, which has to compile as it stands. */
const example = defineConfig({
  listen: '127.0.0.1:8989',
  poolDir: './pool',
  database: './data/proxy.db',
  providers: {
    codex: { type: 'codex', apiKeys: 'when-exhausted' },
    azure: {
      type: 'custom',
      upstream: 'https://me.openai.azure.com',
      credentials: 'azure_*.json',
      authorize: ({ credential }) => ({ 'api-key': credential.key }),
    },
  },
  strategies: {
    'most-left': (accounts) => [...accounts].sort((a, b) => (a.usedPercent ?? 50) - (b.usedPercent ?? 50))[0],
  },
  retry: { patient: { attempts: 6, waitForCooldownMs: 10_000 } },
  routes: [
    { path: '/v1', provider: 'codex', strategy: { sticky: 'most-left' }, retry: 'patient' },
    { path: '/azure', provider: 'azure', strategy: 'round-robin' },
  ],
})

// Never called: each of its entries has to fail to compile.
export function mistakes(): unknown[] {
  const at = { path: '/x', provider: 'codex' as const }
  const mine = { type: 'bearer' as const, upstream: '' }
  const custom = { type: 'custom' as const, upstream: '' }
  const own: NonNullable<UserConfig['strategies']>[string] = (accounts) => accounts[0]
  // This one does compile, or the lines below would prove nothing.
  defineConfig({ strategies: { own }, routes: [{ ...at, strategy: { sticky: 'own' }, retry: 'default' }] })
  return [
    // @ts-expect-error a built-in provider misspelt
    defineConfig({ routes: [{ path: '/x', provider: 'codx' }] }),
    // @ts-expect-error a provider of one's own misspelt
    defineConfig({ providers: { mine }, routes: [{ path: '/x', provider: 'min' }] }),
    // @ts-expect-error a built-in strategy misspelt
    defineConfig({ routes: [{ ...at, strategy: 'least-usd' }] }),
    // @ts-expect-error a strategy of one's own misspelt
    defineConfig({ strategies: { own }, routes: [{ ...at, strategy: 'onw' }] }),
    // @ts-expect-error the same, for conversations
    defineConfig({ strategies: { own }, routes: [{ ...at, strategy: { sticky: 'onw' } }] }),
    // @ts-expect-error sticky places nothing by itself
    defineConfig({ routes: [{ ...at, strategy: { sticky: 'sticky' } }] }),
    // @ts-expect-error a policy that nobody declared
    defineConfig({ routes: [{ ...at, retry: 'patient' }] }),
    // @ts-expect-error a policy misspelt
    defineConfig({ retry: { patient: {} }, routes: [{ ...at, retry: 'patent' }] }),
    // @ts-expect-error an option of an account misspelt
    defineConfig({ accounts: { me: { ordr: 1 } } }),
    // @ts-expect-error an order that is no number
    defineConfig({ accounts: { 'work_*': { order: 'first' } } }),
    // @ts-expect-error an option misspelt
    defineConfig({ pooldir: './pool' }),
    // @ts-expect-error an option of a provider misspelt
    defineConfig({ providers: { codex: { type: 'codex', apiKey: 'always' } } }),
    // @ts-expect-error an option of a policy misspelt
    defineConfig({ retry: { patient: { attempts: 6, waitForCooldown: 1 } } }),
    // @ts-expect-error an async strategy
    defineConfig({ strategies: { own: async (accounts) => accounts[0] } }),
    // @ts-expect-error a strategy that returns an id
    defineConfig({ strategies: { own: (accounts) => accounts[0]?.id } }),
    // @ts-expect-error authorize that returns a text
    defineConfig({ providers: { mine: { ...custom, authorize: () => 'Bearer x' } } }),
    // @ts-expect-error authorize that returns a list
    defineConfig({ providers: { mine: { ...custom, authorize: () => ['Bearer x'] } } }),
    // @ts-expect-error authorize that returns nothing
    defineConfig({ providers: { mine: { ...custom, authorize: () => {} } } }),
    // @ts-expect-error authorize that returns a text in time
    defineConfig({ providers: { mine: { ...custom, authorize: async () => 'Bearer x' } } }),
    // @ts-expect-error a function that must not be async
    defineConfig({ providers: { mine: { ...custom, authorize: () => ({}), path: async () => '/' } } }),
    // @ts-expect-error a provider of one's own without authorize
    defineConfig({ providers: { mine: { type: 'custom', upstream: '' } } }),
  ]
}

test('the example of the manual compiles and loads', () => {
  const general: UserConfig = example
  const config = resolveConfig(general)
  assert.deepEqual(config.routes.slice(0, 2), [
    {
      path: '/v1',
      provider: 'codex',
      strategy: 'most-left',
      sticky: true,
      retry: 'patient',
      websocket: true,
    },
    {
      path: '/azure',
      provider: 'azure',
      strategy: 'round-robin',
      sticky: false,
      retry: 'default',
      websocket: true,
    },
  ])
})

test('the example that stands in a checkout loads', async () => {
  const config = await load(root)
  assert.equal(config.file, join(root, 'codex-pool.config.ts'))
  assert.ok('azure' in config.providers)
  assert.ok('most-left' in config.strategies)
})

test('a project with a config file alone compiles, without types in its tsconfig', (t) => {
  const cwd = folder(t, {
    'codex-pool.config.ts': `
      import { defineConfig } from 'codex-pool'
      export default defineConfig({
        providers: {
          mine: { type: 'custom', upstream: 'https://a.example', authorize: ({ credential }) => ({ key: credential.key }) },
        },
        strategies: { first: (accounts) => accounts[0] },
        routes: [{ path: '/mine', provider: 'mine', strategy: 'first' }],
      })`,
    'tsconfig.json': `{
      "compilerOptions": { "strict": true, "noEmit": true, "target": "es2022", "module": "nodenext" },
      "files": ["codex-pool.config.ts"]
    }`,
    'node_modules/@types/README': '',
  })
  symlinkSync(root, join(cwd, 'node_modules/codex-pool'))
  symlinkSync(join(root, 'node_modules/@types/node'), join(cwd, 'node_modules/@types/node'))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', cwd], { encoding: 'utf8' })
  assert.equal(stdout, '')
})

test('a misspelt name does not compile, and tsc says which was meant', (t) => {
  const cwd = folder(t, {
    'codex-pool.config.ts': `
      import { defineConfig } from 'codex-pool'
      const strategies = { 'most-left': () => undefined }
      export default defineConfig({ strategies, routes: [{ path: '/x', provider: 'codex', strategy: 'most-lft' }] })`,
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        target: 'es2022',
        module: 'nodenext',
        rootDir: '/',
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
        paths: { 'codex-pool': [join(root, 'config/config.ts')] },
      },
      files: ['codex-pool.config.ts'],
    }),
  })
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', cwd], { encoding: 'utf8' })
  assert.notEqual(status, 0)
  assert.match(stdout, /"most-lft".*Did you mean '"most-left"'\?/)
  assert.equal(stdout.match(/error TS/g)?.length, 1, stdout)
})
