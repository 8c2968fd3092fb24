import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/** How a client's run ended. */
export interface Run {
  /** As typed. */
  readonly command: string
  /** Exit status; `null` if it had to be killed. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd: string
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  /** After this the run is ended by force; ms. @default 50000 */
  readonly timeoutMs?: number
}

/** Runs a client to its end, with nothing to read on its input. */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<Run> {
  const { cwd, env, timeoutMs = 50_000 } = options
  // A group of its own: the clients start helpers, which a signal to the client alone would leave behind.
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const deadline = setTimeout(() => killGroup(child.pid), timeoutMs)
  try {
    const [code] = (await once(child, 'exit')) as [number | null]
    // A helper that lives on would hold the output open.
    killGroup(child.pid)
    const [stdout, stderr] = await output
    return { command: [program.split('/').at(-1), ...args].join(' '), code, stdout, stderr }
  } finally {
    clearTimeout(deadline)
  }
}

/** The answer, and nothing else, on the output of a run that ended well. */
export function said(ended: Run, answer: string): void {
  assert.deepEqual({ code: ended.code, stdout: ended.stdout.trim() }, { code: 0, stdout: answer })
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
