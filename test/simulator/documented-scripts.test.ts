import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { faults, geminiFaults, startSimulator, type WireFault } from '../../src/simulator/index.js'
import { inOrder, startPool, turn, type TestPool } from '../kit/pool.js'
import { root } from '../kit/readme-blocks.js'
import { drain, open } from '../kit/stream.js'

/** The cells of the rows of each table on the page, with the code in a cell without its backticks. */
const rows = readFileSync(join(root, 'docs/testing.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| -|^\| what (the|to)/.test(line))
  .map((line) =>
    line.split(' | ').map((cell) =>
      cell
        .replace(/^\| |\|$/g, '')
        .trim()
        .replace(/^`|`$/g, ''),
    ),
  )

/** The value of an expression of the page. */
function play(code: string, names: Record<string, unknown>): unknown {
  return new Function(...Object.keys(names), `return ${code}`)(...Object.values(names))
}

const question = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
const asks = {
  codex: {
    first: 'alice',
    path: '/codex/responses',
    ask: (pool: TestPool) => open(pool, { body: JSON.stringify(turn()) }),
  },
  google: {
    first: 'gina',
    path: ':streamGenerateContent',
    ask: (pool: TestPool) =>
      open(pool, { path: '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse', body: question }),
  },
}
const routes = [
  ...(inOrder.routes ?? []),
  { path: '/v1beta', provider: 'gemini-api-key', strategy: 'in-order' },
]

for (const [what = '', script = '', gets] of rows.filter((cells) => cells.length === 3))
  test(`the page’s script of ${what} gives ${gets}`, async (t) => {
    const { first, path, ask } = what.startsWith('Google') ? asks.google : asks.codex
    const two = { codex: [{ id: 'alice' }, { id: 'bob' }], geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }] }
    const pool = await startPool(t, { ...two, config: { ...inOrder, routes } })
    const quick = script.replace(/afterMs: \d+/, 'afterMs: 20')
    pool.sim.fail({ account: first, path, with: play(quick, { faults, geminiFaults }) as WireFault })
    const answer = await ask(pool)
    const { bytes, broken } = await drain(answer)
    const last = pool.sim.requests.findLast((request) => request.path.endsWith(path))?.account
    if (gets === 'a stream that is cut off') assert.equal(broken, true)
    else if (gets === 'the stream with the limit') assert.match(String(bytes), /delta.*usage_limit_reached/s)
    else if (gets === 'the refusal') assert.equal(answer.statusCode, 400)
    else {
      assert.deepEqual([answer.statusCode, broken], [200, false])
      assert.equal(`the ${last === first ? 'same' : 'other'} account's answer`, gets)
    }
  })

for (const [what, script = ''] of rows.filter((cells) => cells.length === 2))
  test(`the page’s script of ${what} runs`, async (t) => {
    const sim = await startSimulator({ codex: [{ id: 'alice' }] })
    t.after(() => sim.close())
    const made = (await play(script, { sim, startSimulator, faults })) as
      { close?: () => Promise<void> } | undefined
    await made?.close?.()
  })
