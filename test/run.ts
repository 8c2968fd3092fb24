/**
 * Runs the tests: `node dist/test/run.js [--full] [--slowest] [--name PATTERN] [PART ...]`.
 *
 * A part is a room (`accounts`, `test/accounts`) or a file (`test/accounts/pins.test.ts`). With no part, all rooms run
 * except `package` and `real`, which need npm and the real clients. `--full` gives the tests in `slow` their whole
 * size, `--slowest` lists the files that took longest. The last line is `N passed, N failed, N skipped`.
 */
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, resolve, sep } from 'node:path'
import { run } from 'node:test'
import { inspect, parseArgs } from 'node:util'

/** The tests wait for sockets and child processes more than they compute. */
const FILES_AT_ONCE = Math.max(2, Math.ceil(availableParallelism() * 1.5))
/** A file that takes longer hangs; its process is ended. */
const FILE_TIMEOUT_MS = 3 * 60_000
const FULL_FILE_TIMEOUT_MS = 15 * 60_000
const NOT_BY_DEFAULT = ['package', 'real']
/** The longest files. They start first, so that none of them runs alone at the end. */
const FIRST = ['slow', 'house', 'cli', 'login', 'setup']

const folder = import.meta.dirname
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    slowest: { type: 'boolean', default: false },
    name: { type: 'string' },
    concurrency: { type: 'string', default: String(FILES_AT_ONCE) },
  },
})
// Read by test/kit/size.ts in the process of each file.
if (options.full) process.env.CODEX_POOL_TEST_SIZE = 'full'

const roomOf = (file: string): string => relative(folder, file).split(sep)[0] ?? ''

function chosenFiles(): string[] {
  const parts = positionals.map((part) =>
    part.replace(/^(\.\/)?(dist\/)?(test\/)?/, '').replace(/\.[tj]s$/, '.js'),
  )
  const isChosen = (name: string, room: string) =>
    parts.length === 0
      ? !NOT_BY_DEFAULT.includes(room)
      : parts.some((part) => name === part || name.startsWith(`${part.replace(/\/$/, '')}/`))
  const rank = (file: string) => (FIRST.indexOf(roomOf(file)) + FIRST.length + 1) % (FIRST.length + 1)
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.split(sep).join('/'))
    .filter((name) => name.endsWith('.test.js') && isChosen(name, name.split('/')[0] ?? ''))
    .map((name) => join(folder, name))
    .sort((a, b) => rank(a) - rank(b))
}

/** `dist/test/x.test.js` → `test/x.test.ts` */
const sourceOf = (file: string): string =>
  relative(resolve(folder, '../..'), file)
    .replace(/^dist[/\\]/, '')
    .replace(/\.js$/, '.ts')

interface Failure {
  readonly file: string
  readonly name: string
  readonly error: unknown
}

const files = chosenFiles()
if (files.length === 0) {
  console.error(`no test file matches: ${positionals.join(' ')}`)
  process.exit(2)
}
const counts = { passed: 0, failed: 0, skipped: 0 }
const failures: Failure[] = []
const stderr = new Map<string, string>()
const durations = new Map<string, number>()
const started = performance.now()
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** Says one line per room, once the last file of the room has ended. */
function fileEnded(file: string, ms: number): void {
  durations.set(file, ms)
  const room = roomOf(file)
  const ofRoom = files.filter((other) => roomOf(other) === room)
  if (ofRoom.every((other) => durations.has(other)))
    console.log(
      `${room.padEnd(12)} ${ofRoom.length} files, done after ${seconds(performance.now() - started)}`,
    )
}

/** Node 20 reports a test that `--name` leaves out as skipped. */
const leftOut = (skip: unknown): boolean => typeof skip === 'string' && /does not match pattern/.test(skip)

const stream = run({
  files,
  concurrency: Number(options.concurrency),
  timeout: options.full ? FULL_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS,
  ...(options.name !== undefined && { testNamePatterns: options.name }),
})
stream.on('test:complete', ({ name, details }) => {
  if (files.includes(name)) fileEnded(name, details.duration_ms)
})
stream.on('test:pass', ({ name, skip, details }) => {
  // A suite is no test; a file passes by its name if it has no test that ran.
  if (details.type === 'suite' || files.includes(name) || leftOut(skip)) return
  if (skip !== undefined && skip !== false) counts.skipped++
  else counts.passed++
})
stream.on('test:fail', ({ name, file = name, details: { error } }) => {
  // Its subtests are reported by themselves.
  if ((error as { failureType?: string }).failureType === 'subtestsFailed') return
  counts.failed++
  failures.push({ name, file, error: error.cause ?? error })
})
stream.on('test:stderr', ({ file, message }) => stderr.set(file, (stderr.get(file) ?? '') + message))
stream.on('test:diagnostic', ({ file, message }) => {
  if (options.full && file !== undefined) console.log(`  ${sourceOf(file)}: ${message}`)
})
for await (const _ of stream);

if (options.slowest)
  for (const [file, ms] of [...durations].sort(([, a], [, b]) => b - a).slice(0, 30))
    console.log(`${seconds(ms).padStart(8)}  ${sourceOf(file)}`)

for (const { file, name, error } of failures) {
  console.log(`\n✖ ${files.includes(name) ? 'the file itself' : name}\n  ${sourceOf(file)}`)
  const text =
    error instanceof Error
      ? (error.stack ?? error.message)
      : typeof error === 'string'
        ? error
        : inspect(error)
  console.log(text.replace(/^/gm, '  '))
  if (files.includes(name))
    console.log((stderr.get(file) ?? '').trimEnd().split('\n').slice(-30).join('\n').replace(/^/gm, '  | '))
}
if (failures.length > 0) console.log(`\n${failures.length} failed:`)
for (const { file, name } of failures)
  console.log(`✖ ${sourceOf(file)}: ${files.includes(name) ? 'the file itself' : name}`)
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 ? 1 : 0
