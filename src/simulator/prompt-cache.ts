import { createHash } from 'node:crypto'

/** Prefixes that one account remembers; a test run of days must not fill the memory. */
const MOST = 20_000

/** Four characters make a token: near enough to be plausible, and simple enough to be foreseen by a test. */
export const countTokens = (value: unknown): number => Math.ceil(JSON.stringify(value ?? '').length / 4)

/**
 * The prompt cache of one account. The real ones keep the beginnings of earlier prompts, whichever conversation they
 * came from, and count the tokens of the longest one that a new prompt shares. On another account it finds nothing.
 */
export class PromptCache {
  readonly #prefixes = new Set<string>()

  /** Tokens of the longest known beginning. From now on, every beginning of this prompt is known. */
  read(model: string, items: readonly unknown[]): number {
    let cached = 0
    let tokens = 0
    let prefix = model
    for (const item of items) {
      prefix = createHash('sha1')
        .update(`${prefix} ${JSON.stringify(item)}`)
        .digest('base64')
      tokens += countTokens(item)
      if (this.#prefixes.delete(prefix)) cached = tokens
      this.#prefixes.add(prefix)
    }
    for (const oldest of this.#prefixes) {
      if (this.#prefixes.size <= MOST) break
      this.#prefixes.delete(oldest)
    }
    return cached
  }
}
