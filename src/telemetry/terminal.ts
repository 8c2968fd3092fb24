import type { Writable } from 'node:stream'

/** Control characters but the line break and the tab, and those that change the direction of writing. */
const CONTROL = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/**
 * A text as a terminal may show it: an upstream or a file name could else move the cursor, or rewrite what stands on the
 * screen. Line breaks stay.
 */
export function harmless(text: string): string {
  return text.replace(CONTROL, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The same for a text that must stay on one line: it could else look like the next line of the log. */
export function harmlessLine(text: string): string {
  return harmless(text.replace(/\r?\n/g, '\\n'))
}

/** A reader that is slower than this many bytes is taken for one that is gone: the rest would pile up in memory. */
const MOST_WAITING = 1024 * 1024

/**
 * stdout or stderr. When its reader goes away (a closed terminal, `| head`, a full disk), writing falls silent instead of
 * ending the process, and it comes back with the first text that can be written.
 */
export class Outlet {
  #failing: string | undefined
  #lost = 0

  /** @param onBack told how many texts are lost when writing works again */
  constructor(
    private readonly stream: Writable,
    private readonly onBack: (lost: number) => void = () => {},
  ) {
    // The error of a write comes to its callback as well; without a listener it would end the process.
    if (!stream.listeners('error').includes(ignore)) stream.on('error', ignore)
  }

  /** Why nothing is written now, in one word. */
  get failing(): string | undefined {
    return this.#failing
  }

  write(text: string): void {
    if (this.stream.writableLength > MOST_WAITING) return this.#fail('not read')
    try {
      this.stream.write(text, (error) => (error ? this.#fail(codeOf(error)) : this.#works()))
    } catch (error) {
      this.#fail(codeOf(error as Error))
    }
  }

  #fail(reason: string): void {
    this.#failing = reason
    this.#lost++
  }

  #works(): void {
    if (this.#failing === undefined) return
    const lost = this.#lost
    this.#failing = undefined
    this.#lost = 0
    this.onBack(lost)
  }
}

const ignore = (): void => {}

const codeOf = (error: NodeJS.ErrnoException): string => error.code ?? error.message
