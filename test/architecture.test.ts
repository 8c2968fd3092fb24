import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** The checkout that these tests were built from. */
const root = (function find(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : find(dirname(folder))
})(dirname(fileURLToPath(import.meta.url)))

interface Source {
  /** From the root, with `/`. */
  readonly path: string
  /** Without comments. */
  readonly code: string
  /** Files of ours from the root, packages by name. */
  readonly imports: readonly string[]
  /** Those of them that are more than types. */
  readonly needs: readonly string[]
}

function sources(...rooms: string[]): Source[] {
  return rooms.flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join(room, name))),
  )
}

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8')
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
  const statements = [
    ...code.matchAll(/(?:import|export) (type )?[^'"`;]*?from\s*'([^']+)'|import\s*\(?\s*'([^']+)'/g),
  ]
  const name = ([, , from, alone]: RegExpMatchArray) => target(path, from ?? alone ?? '')
  const needs = statements.filter(([, type]) => type === undefined).map(name)
  return { path, code, imports: statements.map(name), needs }
}

const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
}

function target(from: string, name: string): string {
  if (name.startsWith('.')) return normalize(join(dirname(from), name)).replace(/\.js$/, '.ts')
  return name.startsWith('@') ? name.split('/', 2).join('/') : (name.split('/')[0] ?? name)
}

const house = sources('config', 'providers', 'middleware', 'src')
const isOurs = (name: string) => name.endsWith('.ts')
const inRoom = (name: string, rooms: readonly string[]) => rooms.some((room) => name.startsWith(room))

const pool = ['src/accounts/', 'src/strategies/', 'src/usage/', 'src/state/']

/** Which rooms may know which others. */
const arrows: [rooms: string[], mayImport: string[]][] = [
  [['config/'], ['config/']],
  [['providers/'], ['providers/', 'config/']],
  [pool, [...pool, 'config/', 'src/events.ts']],
  [['middleware/'], ['middleware/', ...pool, 'config/', 'src/events.ts', 'src/metrics.ts', 'src/network.ts']],
  [['src/simulator/'], ['src/simulator/']],
]
for (const [rooms, mayImport] of arrows)
  test(`${rooms.join(', ')} knows only ${mayImport.join(', ')}`, () => {
    for (const { path, imports } of house.filter(({ path }) => inRoom(path, rooms)))
      for (const name of imports.filter(isOurs)) assert.ok(inRoom(name, mayImport), `${path} imports ${name}`)
  })

test('the pool knows nothing of HTTP', () => {
  for (const { path, imports } of house.filter(({ path }) => inRoom(path, pool)))
    for (const name of ['express', 'http-proxy-middleware', 'node:http', 'node:https', 'undici'])
      assert.ok(!imports.includes(name), `${path} imports ${name}`)
})

test('only the command line brings the simulator along', () => {
  for (const { path, imports } of house.filter(({ path }) => !inRoom(path, ['src/simulator/', 'src/cli/'])))
    for (const name of imports) assert.ok(!name.startsWith('src/simulator/'), `${path} imports ${name}`)
})

test('no provider is known by name where requests and accounts are handled', () => {
  const names = /(['"`])(codex|gemini|gemini-api-key|bearer|custom|chatgpt|openai)\1/
  for (const { path, code } of house.filter(({ path }) => inRoom(path, ['middleware/', ...pool])))
    assert.doesNotMatch(code, names, path)
})

test('every dependency is used, and has one home', () => {
  const wrong = Object.keys(dependencies).flatMap((name) => {
    // Express is what the gateway is a part of; the simulator is a server of its own.
    const homes = house.filter(
      ({ path, imports }) => imports.includes(name) && !path.startsWith('src/simulator/'),
    )
    return homes.length === 1 || (name === 'express' && homes.length > 0)
      ? []
      : `${name}: ${homes.map(({ path }) => path).join(', ') || 'nobody'}`
  })
  assert.deepEqual(wrong, [])
})

test('supertest has one home among the tests', () => {
  const homes = sources('test').filter(({ imports }) => imports.includes('supertest'))
  assert.deepEqual(
    homes.map(({ path }) => path).filter((path) => path !== 'test/readme.test.ts'),
    ['test/kit.ts'],
    'only the example in the README has a reason to show it',
  )
})

test('what is imported is declared', () => {
  for (const { path, imports } of house)
    for (const name of imports)
      assert.ok(isOurs(name) || name.startsWith('node:') || name in dependencies, `${path} imports ${name}`)
})

test('no two files need each other to run', () => {
  const byPath = new Map(house.map((source) => [source.path, source]))
  for (const { path, needs } of house)
    for (const name of needs)
      assert.ok(name === path || !byPath.get(name)?.needs.includes(path), `${path} and ${name}`)
})
