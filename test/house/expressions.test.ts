import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A regular expression as it stands in a source: behind a sign or a word that no division stands behind. */
const LITERAL =
  /(?<=(?:[(,=:!&|?[{};+]|=>|\breturn|^)\s*)\/(?![*/])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+)\/([dgimsuvy]*)(?=[\s.,;)\]}]|$)/gm

interface Expression {
  readonly place: string
  readonly source: string
  readonly flags: string
}

const files = ['config', 'providers', 'middleware', 'src'].flatMap((room) =>
  readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(room, name)),
)
// The simulator meets no strangers.
const ours = files.filter((file) => !file.startsWith(join('src', 'simulator')))

const expressions: Expression[] = ours.flatMap((file) => {
  const code = readFileSync(join(root, file), 'utf8').replace(/^\s*(\/?\*|\/\/).*$/gm, '')
  return [...code.matchAll(LITERAL)].map(([, source = '', flags = '']) => ({ place: file, source, flags }))
})

/** Those that are put together of parts, when their module is loaded. */
async function madeIn(file: string): Promise<Expression[]> {
  const plain = globalThis.RegExp
  const made: Expression[] = []
  globalThis.RegExp = new Proxy(plain, {
    construct(target, [source, flags]: [string | RegExp, string | undefined]) {
      const expression = new target(source, flags)
      made.push({ place: file, source: expression.source, flags: expression.flags })
      return expression
    },
  })
  try {
    await import(new URL(`../../${file.replace(/\.ts$/, '.js')}`, import.meta.url).href)
  } finally {
    globalThis.RegExp = plain
  }
  return made
}

const SIZE = 8 * 1024
/** One of each kind of character that an expression may ask for. */
const CHARACTERS = [...'a1 \n\t-_./\\:;,"\'%=+@#<>{}[]()é\u0000']
/** Part of almost any text that the expression looks for: what stands in it without a meaning of its own. */
const wordsIn = (source: string): string[] =>
  source
    .replace(/\\(?:[bBdDsSwWnrt]|[pP]\{\w+\}|u[\da-f]{4}|x[\da-f]{2})/g, '\n')
    .replace(/\\(.)/g, '$1')
    .split(/[\n()[\]{}|*+?^$]/)
    .filter((word) => word.length > 1)
    .slice(0, 8)

function hostile(source: string, size: number): string[] {
  const words = ['', ...wordsIn(source)]
  return words.flatMap((word) =>
    CHARACTERS.flatMap((character) => {
      const unit = word + character
      const many = unit.repeat(Math.ceil(size / unit.length))
      return word === '' ? [many, `${many}!`] : [`${word}${character.repeat(size)}!`, `${many}!`]
    }),
  )
}

/** The quickest of several runs, in µs of CPU: what else the machine does makes none of them slow. */
function timeOf(expression: RegExp, text: string, enough: number): number {
  let quickest = Number.POSITIVE_INFINITY
  for (let run = 0; run < 8 && quickest > enough; run++) {
    const start = process.cpuUsage()
    expression.lastIndex = 0
    if (expression.global) text.replace(expression, '')
    else expression.exec(text)
    const { user, system } = process.cpuUsage(start)
    quickest = Math.min(quickest, user + system)
  }
  return quickest
}

/** What an expression may take that looks at each character some hundred times at most, on this machine. */
function bound(size: number): number {
  const simple = /(?:[^~]~?){1,2}~~/g
  const texts = CHARACTERS.map((character) => character.repeat(size))
  // A time of a few µs is rounded.
  return 300 * Math.max(5, ...texts.map((text) => timeOf(simple, text, 0)))
}

const limits = [20, 512, SIZE].map((size) => ({ size, most: bound(size) }))

function slowText({ source, flags }: Expression): string | undefined {
  const expression = new RegExp(source, flags)
  for (const { size, most } of limits)
    for (const text of hostile(source, size))
      if (timeOf(expression, text, most) > most) return `${JSON.stringify(text.slice(0, 40))}… of ${size}`
  return undefined
}

test('no expression takes time out of proportion to the length of a text, whatever stands in it', async () => {
  const makers = ours.filter((file) => /new RegExp\(/.test(readFileSync(join(root, file), 'utf8')))
  const made: Expression[] = []
  for (const file of makers) {
    const these = await madeIn(file)
    assert.notDeepEqual(these, [], `${file} makes expressions only when it is called: they are not tested`)
    made.push(...these)
  }
  assert.ok(expressions.length > 100, `only ${expressions.length} expressions are found`)
  const slow = [...made, ...expressions].flatMap((expression) => {
    const text = slowText(expression)
    return text === undefined ? [] : `${expression.place}: /${expression.source}/: ${text}`
  })
  assert.deepEqual(slow, [])
})

for (const source of ['(a+)+b', '\\s+$', '(?:try|wait) .* in', '"a".*"b".*"c"', '[\\d.]+s'])
  test(`an expression like ${source} is found`, () => {
    assert.notEqual(slowText({ place: '', source, flags: 'g' }), undefined)
  })
