import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { harmless, harmlessLine, Outlet } from '../../src/telemetry/terminal.js'

const steering: Record<string, [text: string, shown: string]> = {
  'an escape sequence': ['\x1b[2J\x1b]0;mine\x07', '\\u001b[2J\\u001b]0;mine\\u0007'],
  'a sequence in one character': ['\x9b31m', '\\u009b31m'],
  'a carriage return over what stands there': ['bad\rgood', 'bad\\u000dgood'],
  'letters that are written backwards': ['\u202egnp.exe\u2066', '\\u202egnp.exe\\u2066'],
  'letters beyond ASCII stay': ['é 😀 …', 'é 😀 …'],
}
for (const [name, [text, shown]] of Object.entries(steering))
  test(`a terminal obeys no text of a stranger: ${name}`, () => {
    assert.equal(harmless(text), shown)
    assert.equal(harmlessLine(text), shown)
  })

test('line breaks stay in the output of a command, and not in a line of the log', () => {
  assert.equal(harmless('one\ntwo\tthree'), 'one\ntwo\tthree')
  assert.equal(harmlessLine('one\ntwo\r\nthree'), 'one\\ntwo\\nthree')
})

test('a reader that does not read costs no memory without end, and the log comes back when it reads', async () => {
  const arrived: (() => void)[] = []
  const slow = new Writable({ write: (_text, _encoding, done) => void arrived.push(done) })
  let lost = 0
  const outlet = new Outlet(slow, (count) => (lost = count))
  for (let i = 0; i < 100; i++) outlet.write('x'.repeat(100_000))
  assert.ok(slow.writableLength < 2 * 1024 * 1024, String(slow.writableLength))
  assert.equal(outlet.failing, 'not read')
  for (let next = arrived.shift(); next; next = arrived.shift()) {
    next()
    await new Promise(setImmediate)
  }
  assert.equal(outlet.failing, undefined)
  assert.ok(lost > 80, String(lost))
})
