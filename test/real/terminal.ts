import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { program } from './clients.js'
import { until } from './until.js'

const execute = promisify(execFile)

/** A program in a terminal of its own. */
export interface Terminal {
  /** Waits until the screen matches, and gives it without colours. @throws with the screen if it never does */
  see(pattern: RegExp): Promise<string>
  /** Types a line, and sends it once `pattern` is on the screen. */
  enter(line: string, pattern: RegExp): Promise<void>
  /** Ends the terminal and everything in it. */
  close(): Promise<void>
}

export interface TerminalOptions {
  readonly folder: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** Starts a program under tmux, on a tmux server that nobody else uses. */
export async function openTerminal(command: readonly string[], options: TerminalOptions): Promise<Terminal> {
  const { folder, cwd, env } = options
  const tmux = async (...args: string[]): Promise<string> => {
    const all = ['-S', join(folder, 'tmux'), '-f', '/dev/null', ...args]
    return (await execute(program('tmux'), all, { env: { ...env }, timeout: 10_000 })).stdout
  }
  // `timeout` ends the program even if this process is killed before it can.
  await tmux('new-session', '-d', '-x', '120', '-y', '50', '-c', cwd, 'timeout', '100', ...command)

  async function see(pattern: RegExp): Promise<string> {
    let screen = ''
    return until(
      async () => {
        screen = await tmux('capture-pane', '-p')
        return pattern.test(screen) ? screen : undefined
      },
      () => `${pattern} did not come up on the screen:\n${screen}`,
    )
  }
  async function enter(line: string, pattern: RegExp): Promise<void> {
    await tmux('send-keys', '-l', line)
    // A client takes what comes in one go for something pasted, and a line end in it for a line end.
    await see(pattern)
    await tmux('send-keys', 'Enter')
  }
  // Without a program left the server has ended by itself.
  const close = async () => void (await tmux('kill-server').catch(() => {}))
  return { see, enter, close }
}
