/**
 * Runs the tests: `node dist/test/run.js [--full] [--slowest] [--name PATTERN] [PART ...]`.
 *
 * A part is a room (`accounts`, `test/accounts`) or a file (`test/accounts/pins.test.ts`). With no part, all rooms run
 * except `browser`, `package` and `real`, which need Chromium, npm and the real clients. `--full` gives the tests in `slow` their whole
 * size, `--slowest` lists the files that took longest. The last line is `N passed, N failed, N skipped`.
 */
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, sep } from 'node:path'
import { run } from 'node:test'
import { inspect, parseArgs } from 'node:util'

/** The tests wait for sockets and child processes as much as they compute. */
const FILES_AT_ONCE = Math.ceil(availableParallelism() * 1.5)
/** A file that takes longer hangs; its process is ended. */
const FILE_TIMEOUT_MS = 3 * 60_000
/** Of the tests in `slow` at their whole size, and of the real clients, which take seconds for each start. */
const FULL_FILE_TIMEOUT_MS = 15 * 60_000
const NOT_BY_DEFAULT = ['browser', 'package', 'real']
/** The rooms with the longest files. They start first, so that none of these files runs alone at the end. */
const FIRST = ['slow', 'house', 'cli', 'login', 'setup']

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    slowest: { type: 'boolean', default: false },
    name: { type: 'string' },
    concurrency: { type: 'string', default: String(FILES_AT_ONCE) },
  },
})
// The process of each file inherits it: test/kit/size.ts.
if (options.full) process.env.CODEX_POOL_TEST_SIZE = 'full'

const folder = import.meta.dirname
/** From the folder of the tests, with `/`: `accounts/pins.test.js`. */
const nameOf = (file: string): string => relative(folder, file).replaceAll(sep, '/')
const roomOf = (file: string): string => nameOf(file).split('/')[0] ?? ''
/** Node 24 names the source itself. */
const sourceOf = (file: string): string =>
  `test/${nameOf(file)
    .replace(/^.*\/test\//, '')
    .replace(/\.js$/, '.ts')}`

function chosenFiles(): string[] {
  const parts = positionals.map((part) =>
    part.replace(/^(\.\/)?(dist\/)?(test\/)?/, '').replace(/\.ts$|\/$/, (end) => (end === '/' ? '' : '.js')),
  )
  const isChosen = (file: string) =>
    parts.length === 0
      ? !NOT_BY_DEFAULT.includes(roomOf(file))
      : parts.some((part) => nameOf(file) === part || nameOf(file).startsWith(`${part}/`))
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(folder, name))
    .filter(isChosen)
  return [
    ...FIRST.flatMap((room) => files.filter((file) => roomOf(file) === room)),
    ...files.filter((file) => !FIRST.includes(roomOf(file))),
  ]
}

const files = chosenFiles()
if (files.length === 0) {
  console.error(`no test file matches: ${positionals.join(' ')}`)
  process.exit(2)
}

const isFile = new Set(files)
const counts = { passed: 0, failed: 0, skipped: 0 }
const failures: { readonly file: string; readonly name: string; readonly error: unknown }[] = []
const stderr = new Map<string, string>()
const durations = new Map<string, number>()
const startedAt = performance.now()
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** Prints a line for a room once its last file has ended. */
function fileEnded(file: string, ms: number): void {
  durations.set(file, ms)
  const ofRoom = files.filter((other) => roomOf(other) === roomOf(file))
  if (!ofRoom.every((other) => durations.has(other))) return
  const after = seconds(performance.now() - startedAt)
  console.log(`${roomOf(file).padEnd(12)} ${String(ofRoom.length).padStart(3)} files, done after ${after}`)
}

const needsLong = files.some((file) => roomOf(file) === 'real')
const tests = run({
  files,
  concurrency: Number(options.concurrency),
  timeout: options.full || needsLong ? FULL_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS,
  ...(options.name !== undefined && { testNamePatterns: options.name }),
})
tests.on('test:complete', ({ name, details }) => {
  if (isFile.has(name)) fileEnded(name, details.duration_ms)
})
tests.on('test:pass', ({ name, skip, details }) => {
  // A file in which no test ran passes under its own name. Node 20 reports what `--name` leaves out as skipped.
  if (details.type === 'suite' || isFile.has(name) || /does not match pattern/.test(String(skip))) return
  counts[skip === undefined || skip === false ? 'passed' : 'skipped']++
})
tests.on('test:fail', ({ name, file = name, details: { error } }) => {
  // The subtests that failed are reported by themselves.
  if ((error as { failureType?: string }).failureType === 'subtestsFailed') return
  counts.failed++
  failures.push({ name, file, error: error.cause ?? error })
})
tests.on('test:stderr', ({ file, message }) => stderr.set(file, (stderr.get(file) ?? '') + message))
tests.on('test:diagnostic', ({ file, message }) => {
  if (options.full && file !== undefined) console.log(`  ${sourceOf(file)}: ${message}`)
})
// The events come only while somebody reads.
for await (const _ of tests);

if (options.slowest) {
  const longest = [...durations].sort(([, a], [, b]) => b - a).slice(0, 30)
  for (const [file, ms] of longest) console.log(`${seconds(ms).padStart(8)}  ${sourceOf(file)}`)
}

const indented = (text: string, by = '  '): string => text.trimEnd().replace(/^/gm, by)
const titleOf = (name: string): string => (isFile.has(name) ? 'the file as a whole' : name)

for (const { file, name, error } of failures) {
  console.log(`\n✖ ${titleOf(name)}\n  ${sourceOf(file)}`)
  console.log(indented(error instanceof Error && error.stack ? error.stack : inspect(error)))
  const written = isFile.has(name) ? stderr.get(file) : undefined
  if (written !== undefined) console.log(indented(written.split('\n').slice(-30).join('\n'), '  | '))
}
if (failures.length > 0) console.log('\nFailed:')
for (const { file, name } of failures) console.log(`✖ ${sourceOf(file)}: ${titleOf(name)}`)
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 ? 1 : 0
