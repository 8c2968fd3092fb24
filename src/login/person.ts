import { spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

/** The user who logs in. */
export interface Person {
  say(text: string): void
  /** Opens a page in the browser, if there is one on this machine. */
  open(url: string): void
  /** The lines that the user types; ends with the input. */
  lines(): AsyncIterable<string>
}

/** The user at the terminal of this process. `leave` stops reading from it. */
export function atTerminal(say: (text: string) => void): Person & { leave(): void } {
  let input: Interface | undefined
  return {
    say,
    open: openBrowser,
    lines: () => (input ??= createInterface({ input: process.stdin })),
    leave: () => input?.close(),
  }
}

/** Whether the issuer could send a browser back to this machine: not where the user came over SSH. */
export function hasBrowser(env: NodeJS.ProcessEnv = process.env, platform = process.platform): boolean {
  if (env.SSH_CONNECTION || env.SSH_TTY) return false
  return platform === 'darwin' || platform === 'win32' || Boolean(env.DISPLAY || env.WAYLAND_DISPLAY)
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['open'],
  // `start` is a word of cmd, which would take the & of an address for its own.
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/** A failure is not told: the address is on the terminal as well. */
function openBrowser(url: string): void {
  if (!hasBrowser()) return
  const [command = 'xdg-open', ...args] = OPENERS[process.platform] ?? []
  spawn(command, [...args, url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
