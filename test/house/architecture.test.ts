import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { rooms } from './rooms.js'

/** The checkout that these tests were built from. */
const root = (function find(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : find(dirname(folder))
})(dirname(fileURLToPath(import.meta.url)))

interface Source {
  /** From the root, with `/`. */
  readonly path: string
  readonly text: string
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
  return { path, text, code, imports: statements.map(name), needs }
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

/** The rooms behind one account, from its file on disk to the pool that requests ask. */
const pool = ['src/credentials/', 'src/state/', 'src/usage/', 'src/accounts/', 'src/refresh/', 'src/pool/']

for (const [room, mayImport] of Object.entries(rooms))
  test(`${room} knows only ${mayImport.join(', ') || 'itself'}`, () => {
    for (const { path, imports } of house.filter(({ path }) => path.startsWith(room)))
      for (const name of imports.filter(isOurs))
        assert.ok(inRoom(name, [room, ...mayImport]), `${path} imports ${name}`)
  })

test('every arrow between two rooms is one that some file needs', () => {
  const unused = Object.entries(rooms).flatMap(([room, mayImport]) => {
    const imported = house.filter(({ path }) => path.startsWith(room)).flatMap(({ imports }) => imports)
    return mayImport.flatMap((other) =>
      imported.some((name) => name.startsWith(other)) ? [] : `${room} → ${other}`,
    )
  })
  assert.deepEqual(unused, [])
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

test('a name of a provider’s own upstream stands with the providers, however it is written', () => {
  // Headers and hosts that one upstream alone knows; `x-codex-pool-` is the gateway's own.
  const names = /chatgpt-account-id|x-goog-|x-gemini-|openai-|x-codex-(?!pool-)/i
  // These rooms write a client's configuration, play the upstreams, or log in at an issuer.
  const others = ['providers/', 'src/simulator/']
  for (const { path, code } of house.filter(({ path }) => !inRoom(path, others)))
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
    homes.map(({ path }) => path).filter((path) => path !== 'test/house/readme.test.ts'),
    ['test/kit/pool.ts'],
    'only the example in the README has a reason to show it',
  )
})

test('what is imported is declared', () => {
  for (const { path, imports } of house)
    for (const name of imports)
      assert.ok(isOurs(name) || name.startsWith('node:') || name in dependencies, `${path} imports ${name}`)
})

test('imports run in no circle, those of types included', () => {
  const importsOf = new Map(house.map(({ path, imports }) => [path, imports.filter(isOurs)]))
  assert.deepEqual(circlesIn(importsOf), [])
})

/** Every circle that a walk along the imports runs into, as the files on it. */
function circlesIn(importsOf: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = []
  const done = new Set<string>()
  const walk = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) return void circles.push(trail.slice(at))
    if (done.has(path)) return
    for (const next of importsOf.get(path) ?? []) walk(next, [...trail, path])
    done.add(path)
  }
  for (const path of importsOf.keys()) walk(path, [])
  return circles
}

test('the code says each thing in one word: those of the glossary in docs/architecture.md', () => {
  const synonyms =
    /twin|heed|learn(?!gin)|take[ns]? ?over|took ?over|look(s|ed)? ?after|reviv|resting|\ba rest\b/i
  for (const { path, text } of house.filter(({ path }) => !path.startsWith('src/simulator/')))
    assert.doesNotMatch(text, synonyms, path)
})
