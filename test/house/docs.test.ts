import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { configSchema } from '../../config/schema.js'
import { bodies } from '../slow/fault-matrix/bodies.js'
import { connections } from '../slow/fault-matrix/connections.js'
import { fronts } from '../slow/fault-matrix/fronts.js'
import { limits } from '../slow/fault-matrix/limits.js'
import { matrixTable } from '../slow/fault-matrix/manual.js'
import { refusals } from '../slow/fault-matrix/refusals.js'
import { streams } from '../slow/fault-matrix/streams.js'
import { root } from '../kit/readme-blocks.js'
import { rooms } from './rooms.js'

const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const texts = [
  'README.md',
  'pool/README.md',
  'data/README.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
]

for (const file of texts)
  test(`every link in ${file} leads somewhere`, () => {
    for (const [, target = ''] of read(file).matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [path, anchor] = target.split('#')
      const linked = path ? join(dirname(file), path) : file
      assert.ok(existsSync(join(root, linked)), target)
      if (anchor) assert.ok(anchorsOf(linked).includes(anchor), target)
    }
  })

/** As GitHub makes them of headings. */
function anchorsOf(file: string): string[] {
  return [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
}

/** The words of a text that stand in backticks within a line; `access.keys` is two of them. */
function codeIn(text: string): Set<string> {
  const lines = text.replace(/^```.*?^```$/gms, '')
  return new Set([...lines.matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => code.split(/[^\w-]+/)))
}

test('every field of the configuration stands in its manual', () => {
  const told = codeIn(read('docs/configuration.md'))
  const missing = [...new Set(fieldsOf(configSchema))].filter((field) => !told.has(field))
  assert.deepEqual(missing, [])
})

function fieldsOf(schema: unknown): string[] {
  if (Array.isArray(schema)) return schema.flatMap(fieldsOf)
  if (typeof schema !== 'object' || schema === null) return []
  const { properties, ...rest } = schema as { properties?: unknown }
  const own = typeof properties === 'object' && properties !== null ? Object.entries(properties) : []
  // What a `login` is made of is told where its type is.
  const inner = own.flatMap(([name, value]) => (name === 'login' ? [name] : [name, ...fieldsOf(value)]))
  return [...inner, ...Object.values(rest).flatMap(fieldsOf)]
}

const lists: { what: string; source: string; within?: RegExp; pattern: RegExp; manual: string }[] = [
  {
    what: 'environment variable',
    source: 'config/layers.ts',
    pattern: /^ {2}([A-Z]+_[A-Z_]+):/gm,
    manual: 'docs/configuration.md',
  },
  {
    what: 'code of a configuration problem',
    source: 'config/problems.ts',
    pattern: /^ {2}\| '(\w+)'/gm,
    manual: 'docs/configuration.md',
  },
  {
    what: 'metric',
    source: 'src/telemetry/metrics.ts',
    pattern: /name: '(\w+)'/g,
    manual: 'docs/endpoints.md',
  },
  {
    what: 'built-in route',
    source: 'config/provider-entry.ts',
    pattern: /\{ path: '\/([\w-]+)/g,
    manual: 'docs/configuration.md',
  },
  {
    what: 'dependency',
    source: 'package.json',
    pattern: /^ {4}"([\w-]+)": "\d+\.\d+\.\d+",?$/gm,
    manual: 'docs/decisions.md',
  },
  {
    what: 'field of a retry policy',
    source: 'config/config.ts',
    pattern: /^ {2}(\w+Ms)\?/gm,
    manual: 'docs/configuration.md',
  },
  { what: 'command', source: 'src/cli/main.ts', pattern: /\.command\('(\w+)/g, manual: 'README.md' },
  {
    what: 'verdict',
    source: 'config/provider.ts',
    within: /export type Verdict =.*?\n\n\/\*\*/s,
    pattern: /kind: '([\w-]+)'/g,
    manual: 'docs/failover.md',
  },
]

for (const { what, source, within = /.*/s, pattern, manual } of lists)
  test(`every ${what} stands in ${manual}`, () => {
    const told = codeIn(read(manual))
    const [part = ''] = within.exec(read(source)) ?? []
    const names = [...part.matchAll(pattern)].map(([, name = '']) => name)
    assert.ok(names.length > 2, `${source} has names of that form`)
    assert.deepEqual(
      names.filter((name) => !told.has(name)),
      [],
    )
  })

test('docs/clients.md tells the versions of the clients that the tests install', () => {
  const { dependencies } = JSON.parse(read('test/real/clients/package.json')) as Record<
    'dependencies',
    object
  >
  const told = read('docs/clients.md').split('## Codex CLI')[0] ?? ''
  // Node and zod are no clients.
  const { node: _, zod: __, ...clients } = dependencies as Record<string, string>
  assert.deepEqual(
    Object.values(clients).filter((version) => !told.includes(version.replace(/^npm:.*@/, ''))),
    [],
  )
})

test('every code of an error of the gateway’s own stands in docs/endpoints.md', () => {
  const told = codeIn(read('docs/endpoints.md'))
  const sources = ['src', 'middleware', 'providers'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join(folder, name))),
  )
  const codes = sources.flatMap((source) =>
    [...source.matchAll(/new GatewayFailure\([^']*'(\w+)'/g)].map(([, code = '']) => code),
  )
  assert.ok(codes.length > 20)
  assert.deepEqual(
    codes.filter((code) => !told.has(code)),
    [],
  )
})

test('the fault matrix in docs/failover.md is the one that is tested', () => {
  const [, section = ''] = read('docs/failover.md').split('## The fault matrix')
  const [, , ...told] = [...section.matchAll(/^\|(.+)\|$/gm)].map(([, line = '']) =>
    line.split('|').map((cell) => cell.trim()),
  )
  assert.deepEqual(told, matrixTable([...connections, ...refusals, ...limits, ...streams, ...bodies], fronts))
})

test('the rooms and arrows in docs/architecture.md are those that the tests hold', () => {
  const [, section = ''] = read('docs/architecture.md').split('## Rooms')
  const rows = tableOf(section.split('## ')[0] ?? '')
  const told = Object.fromEntries(
    rows.map(([room = '', , imports = '']) => [room, imports.split(', ').filter(Boolean)]),
  )
  assert.deepEqual(
    told,
    Object.fromEntries(Object.entries(rooms).map(([room, imports]) => [room, [...imports]])),
  )
})

test('the life of a request in docs/architecture.md has the steps of middleware/chain.ts, in their order', () => {
  const [, list = ''] = read('middleware/chain.ts').split('return [')
  const steps = [...list.matchAll(/^ {4}(\w+)\(/gm)].map(([, name = '']) => name)
  const told = [...read('docs/architecture.md').matchAll(/^\d+\. \*\*(\w+)\*\*/gm)].map(
    ([, name = '']) => name,
  )
  assert.ok(steps.length > 5)
  assert.deepEqual(told, steps)
})

test('docs/architecture.md says for each of its tasks which files to touch: three at most, and each is there', () => {
  const [, section = ''] = read('docs/architecture.md').split('## Where to change what')
  const rows = tableOf(section.split('## ')[0] ?? '')
  assert.ok(rows.length >= 10)
  for (const [task = '', files = ''] of rows) {
    const named = [...files.matchAll(/[\w/-]+\.ts/g)].map(([name]) => name)
    assert.ok(named.length > 0 && named.length <= 3, task)
    for (const file of named)
      assert.ok(file.includes('NAME') || existsSync(join(root, file)), `${task}: ${file}`)
  }
})

test('the glossary in docs/architecture.md has twenty words at most', () => {
  const [, section = ''] = read('docs/architecture.md').split('## Words')
  assert.ok(tableOf(section.split('## ')[0] ?? '').length <= 20)
})

/** The rows of a table below its head: cells without the backticks. */
function tableOf(section: string): string[][] {
  const [, , ...rows] = [...section.matchAll(/^\|(.+)\|$/gm)].map(([, line = '']) =>
    line.split('|').map((cell) => cell.replaceAll('`', '').trim()),
  )
  return rows
}

for (const file of texts)
  test(`every source file that ${file} names is there`, () => {
    const named = [...read(file).matchAll(/`([\w-]+(?:\/[\w.-]+)+\.ts)`/g)].map(([, name = '']) => name)
    assert.deepEqual(
      named.filter((name) => !name.includes('NAME') && !existsSync(join(root, name))),
      [],
    )
  })
