import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pins } from '../../src/accounts/pins.js'
import { Trails } from '../../src/accounts/trails.js'

const historyOf = (...texts: string[]) => ({
  names: [],
  parts: texts.map((text, at) => ({ byModel: at % 2 === 1, text })),
  setting: '',
  repeated: false,
})

test('of two conversations that were the same so far, two requests at once go on with one each', () => {
  const trails = new Trails(new Pins({ max: 100, idleMs: 60_000 }, { put() {}, remove() {} }))
  for (const conversation of ['first', 'second']) {
    const begun = trails.follow('scope', historyOf('hi'), conversation)
    trails.served(begun)
    trails.answered(begun, { names: [], texts: ['Yes.'] })
  }
  const goingOn = ['a', 'b'].map((next) => trails.follow('scope', historyOf('hi', 'Yes.', next), 'new'))
  assert.deepEqual(
    goingOn.map(({ conversation }) => conversation),
    ['first', 'second'],
  )
})

test('a request that fails and is sent again finds its conversation', () => {
  const trails = new Trails(new Pins({ max: 100, idleMs: 60_000 }, { put() {}, remove() {} }))
  const begun = trails.follow('scope', historyOf('hi'), 'first')
  trails.served(begun)
  trails.answered(begun, { names: [], texts: ['Yes.'] })
  for (let i = 0; i < 2; i++)
    assert.equal(trails.follow('scope', historyOf('hi', 'Yes.', 'go on'), 'new').conversation, 'first')
})

test('histories of two people or providers are not compared', () => {
  const trails = new Trails(new Pins({ max: 100, idleMs: 60_000 }, { put() {}, remove() {} }))
  const long = 'A monad is a monoid in the category of endofunctors.'
  const begun = trails.follow('ann', historyOf('hi'), 'first')
  trails.served(begun)
  trails.answered(begun, { names: ['resp_1'], texts: [long] })
  const next = { ...historyOf('hi', long, 'go on'), names: ['resp_1'] }
  assert.equal(trails.follow('ben', next, 'new').conversation, 'new')
})
