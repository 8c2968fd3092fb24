import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = (function find(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : find(dirname(folder))
})(dirname(fileURLToPath(import.meta.url)))

const house = ['config', 'providers', 'middleware', 'src'].flatMap((room) =>
  readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('simulator'))
    .map((name) => ({ path: join(room, name), text: readFileSync(join(root, room, name), 'utf8') })),
)

/** What makes an emitter whose `error` event ends the process if nobody listens. */
const EMITTERS =
  /new WebSocket\(|\bnet\.connect\(|\btls\.connect\(|\bhttps?\.(request|get|createServer)\(|\bspawn\(|create(Read|Write)Stream\(|\.pipe\(|(?<!\.)\bwatch\(\[/

test('every file that makes an emitter listens for its errors', () => {
  const deaf = house
    .filter(({ text }) => EMITTERS.test(text.replace(/\/\*[\s\S]*?\*\//g, '')))
    .filter(({ text }) => !/\.(on|once|prependListener)\(\s*'(error|clientError)'/.test(text))
  assert.deepEqual(
    deaf.map(({ path }) => path),
    [],
  )
})

/** They share their names with functions that may reject: a timer's, `WriteBehind.flush`, and `Tokens.reconcile`. */
const SAFE = new Set(['timer.refresh', 'this.flush', 'this.#writer.flush', 'this.tokens.reconcile'])

/** A call whose promise is dropped: `void name(`, `void this.#name(`, `void object.name(`. */
const DROPPED = /\bvoid ((?:this\.)?[#\w.?]+)\(([^\n]*)$/gm

test('every promise that is dropped has a catch, or comes from a function that never rejects', () => {
  const rejecting = house.flatMap(({ path, text }) =>
    [...text.matchAll(DROPPED)].flatMap(([line, name = '']) => {
      const last = name.split('.').at(-1)!.replace(/[#?]/g, '')
      return line.includes('.catch(') || SAFE.has(name) || isSafe(last) ? [] : `${path}: ${line.trim()}`
    }),
  )
  assert.deepEqual(rejecting, [])
})

/** Whether no function of this name is async, or each says in its docstring that it never rejects. */
function isSafe(name: string): boolean {
  const asynchronous = house.flatMap(({ text }) => [
    ...text.matchAll(
      new RegExp(
        String.raw`(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*)?^[ \w]*(?:async |function )*#?\b${name}\([^{;]*\): Promise<`,
        'gm',
      ),
    ),
  ])
  return asynchronous.every(([, docstring = '']) => /never rejects?/i.test(docstring))
}
