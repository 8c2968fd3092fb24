import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../src/cli/bin.js', import.meta.url))

/** For commands that must find no gateway: a developer's own may listen on the default address. */
export const NO_GATEWAY = { PROXY_LISTEN_ADDR: '127.0.0.1:45' }

export interface CommandOptions {
  readonly cwd: string
  /** Beside PATH, HOME and CODEX_POOL_HOME, which are `cwd`; nothing else is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** The command has no terminal to read from. @default false */
  readonly alone?: boolean
}

export interface Ended {
  readonly status: number | null
  /** Both outputs, as they came. */
  readonly output: string
}

/** A `codex-pool` command that runs. */
export interface RunningCommand {
  /** Waits for the first match in its output. @throws if the command ends without one */
  printed(pattern: RegExp): Promise<string>
  type(line: string): void
  signal(name: NodeJS.Signals): void
  readonly ended: Promise<Ended>
}

/** The commands of each test. */
const started = new WeakMap<TestContext, { child: ChildProcess; ended: Promise<Ended> }[]>()

/** Comes before a folder is removed, which fails while a command writes to it. `after` hooks run in the order of their making. */
async function endCommands(t: TestContext): Promise<void> {
  for (const { child, ended } of started.get(t) ?? []) {
    child.kill('SIGKILL')
    await ended
  }
}

/** Starts a command in a process of its own; it is ended with the test. */
export function startCommand(
  t: TestContext,
  args: readonly string[],
  options: CommandOptions,
): RunningCommand {
  const { cwd, env, alone = false } = options
  const child = spawn(process.execPath, [program, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, CODEX_POOL_HOME: cwd, NO_PROXY: '*', ...env },
    stdio: [alone ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  let output = ''
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const listener of listeners) listener()
    })
  const ended = new Promise<Ended>((resolve) => child.on('close', (status) => resolve({ status, output })))
  const ofTest = started.get(t) ?? []
  started.set(t, [...ofTest, { child, ended }])
  t.after(() => endCommands(t))
  return {
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output)
          if (match) resolve(match[1] ?? match[0])
        }
        listeners.add(look)
        look()
        void ended.then(() => reject(new Error(`it ended without ${pattern}:\n${output}`)))
      }),
    type: (line) => void child.stdin!.write(`${line}\n`),
    signal: (name) => void child.kill(name),
    ended,
  }
}

/** Runs a command to its end, without a terminal. */
export function runCommand(t: TestContext, args: readonly string[], options: CommandOptions): Promise<Ended> {
  return startCommand(t, args, { ...options, alone: true }).ended
}

/** A temporary folder; it is removed when the test ends. */
export async function emptyFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'codex-pool-'))
  t.after(async () => {
    await endCommands(t)
    await rm(folder, { recursive: true, force: true })
  })
  return folder
}

/** Fails if the output holds one of `secrets`, or a text that looks like a token, a code or a verifier. */
export function assertNoSecret(output: string, secrets: readonly (string | undefined)[] = []): void {
  for (const secret of secrets) assert.ok(!output.includes(secret ?? '\0'), 'a secret was printed')
  assert.doesNotMatch(output, /rt_sim|eyJ[\w-]{20}|ya29|1\/\/sim|ac_sim|GOCSPX|sk-|AIza/)
}
