import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'

/** Where pins are kept over a restart. */
export interface PinStore {
  put(key: string, pin: { value: string; at: number }): void
  remove(key: string): void
}

/** A pin in use is written again after this time: its age needs to be right to within an hour, not a request; ms. */
const TOUCH_MS = 10 * 60_000

/**
 * The account of each conversation, and of each opaque value that an account issued. Bounded, because clients choose
 * the keys. Keys are hashes, because they may be secrets. The value is the account's key, but for {@link Trails}.
 */
export class Pins {
  #pins: LRUCache<string, { value: string; at: number }>

  constructor(
    options: { max: number; idleMs: number },
    private readonly store: PinStore,
    private readonly now: () => number = Date.now,
  ) {
    this.#pins = new LRUCache({
      max: options.max,
      ttl: options.idleMs,
      updateAgeOnGet: true,
      perf: { now },
      dispose: (_pin, key, reason) => {
        if (reason !== 'set') store.remove(key)
      },
    })
  }

  /** The key of a pin: a hash of its parts. */
  static key(...parts: string[]): string {
    return createHash('sha256').update(parts.join('\0')).digest('base64url').slice(0, 27)
  }

  get(key: string): string | undefined {
    const pin = this.#pins.get(key)
    if (pin && this.now() - pin.at > TOUCH_MS) this.#write(key, pin.value)
    return pin?.value
  }

  set(key: string, value: string): void {
    if (this.get(key) !== value) this.#write(key, value)
  }

  delete(key: string): void {
    this.#pins.delete(key)
  }

  #write(key: string, value: string): void {
    const pin = { value, at: this.now() }
    this.#pins.set(key, pin)
    this.store.put(key, pin)
  }

  restore(pins: Iterable<{ key: string; value: string; at: number }>): void {
    const ttl = this.#pins.ttl
    for (const { key, value, at } of [...pins].sort((a, b) => a.at - b.at)) {
      const left = at + ttl - this.now()
      if (left > 0) this.#pins.set(key, { value, at }, { ttl, start: at })
      else this.store.remove(key)
    }
  }
}
