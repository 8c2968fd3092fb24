import { spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

/** Whoever logs in. */
export interface Person {
  say(text: string): void
  /** Opens a page in their browser, if there is one on this machine. */
  open(url: string): void
  /** What they type, line by line; ends when there is nobody. */
  lines(): AsyncIterable<string>
}

/** Whoever sits at the terminal of this process. `leave` lets go of it. */
export function atTerminal(): Person & { leave(): void } {
  let input: Interface | undefined
  return {
    say: (text) => void process.stdout.write(`${text}\n`),
    open: openBrowser,
    lines: () => (input ??= createInterface({ input: process.stdin })),
    leave: () => input?.close(),
  }
}

/** Whether a browser on this machine could be sent back to it: not for who came here over SSH. */
export function hasBrowser(env: NodeJS.ProcessEnv = process.env, platform = process.platform): boolean {
  if (env.SSH_CONNECTION || env.SSH_TTY) return false
  return platform === 'darwin' || platform === 'win32' || Boolean(env.DISPLAY || env.WAYLAND_DISPLAY)
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['open'],
  // `start` is a word of cmd, which would take the & of an address for its own.
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/** Opens an address in the person's browser. A failure is no news: the address is on the terminal as well. */
export function openBrowser(url: string): void {
  if (!hasBrowser()) return
  const [command = 'xdg-open', ...args] = OPENERS[process.platform] ?? []
  spawn(command, [...args, url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
