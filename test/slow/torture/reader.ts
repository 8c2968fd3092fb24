import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { text } from '../../../src/simulator/index.js'

/** Reads files again and again, as any other program might at any moment. */
export class Reader {
  reads = 0
  /** Every refresh token that was ever in one of the files. */
  readonly seen = new Set<string>()

  constructor(
    private readonly files: readonly string[],
    private readonly intact: (file: string, content: Record<string, unknown>) => void,
  ) {}

  /** @throws at the first file that is not there, not whole, or not intact */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.readAll()
      await delay(2)
    }
  }

  /** The refresh tokens that the files hold. */
  async readAll(): Promise<string[]> {
    const tokens: string[] = []
    for (const file of this.files) tokens.push(await this.#read(file))
    return tokens
  }

  async #read(file: string): Promise<string> {
    const bytes = await readFile(file, 'utf8')
    this.reads++
    let content: Record<string, unknown>
    try {
      content = JSON.parse(bytes) as Record<string, unknown>
    } catch {
      assert.fail(`${file} cannot be read: ${bytes.length} bytes`)
    }
    this.intact(file, content)
    const token = text(content, 'tokens', 'refresh_token') ?? assert.fail(`${file} holds no refresh token`)
    this.seen.add(token)
    return token
  }
}
