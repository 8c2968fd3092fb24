import { createInterface, type Interface } from 'node:readline'
import { openBrowser } from './browser.js'

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
