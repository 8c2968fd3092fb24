import assert from 'node:assert/strict'
import { test } from 'node:test'
import { harmless, harmlessLine } from '../../src/telemetry/harmless.js'

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
