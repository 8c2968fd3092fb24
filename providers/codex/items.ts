import { type Fields, fields, text } from '../json.js'
import { Untranslatable } from './chat-request.js'

interface Kept {
  readonly item: Fields
  /** The id of the account that made it. */
  readonly account: string
  /** Characters of its JSON. */
  readonly size: number
}

/** See {@link AnsweredItems.of}. */
export interface OwnItems {
  readonly keep: (item: Fields) => void
  /**
   * The input with whole items in place of references to them.
   * @throws Untranslatable for a reference to an unknown item
   */
  readonly whole: (input: unknown) => unknown
}

const UNKNOWN =
  'A ChatGPT account stores no answers, and the item of this reference is not remembered. Send items whole, with "store" ' +
  'false; in the AI SDK with providerOptions.openai.store.'

/** Characters of all items together, and of one; more than a day of one person's work. */
const MOST = 32 * 1024 * 1024
const LARGEST = 1024 * 1024

/**
 * The items of answers to clients that take the answers for stored, such as the AI SDK: in their next request they name
 * an item by its id alone. In memory only; the oldest are dropped first.
 */
export class AnsweredItems {
  readonly #kept = new Map<string, Kept>()
  #size = 0

  /** Whether a reference to it can be replaced, so that any account can serve the request. */
  has(client: string, id: string): boolean {
    return this.#kept.has(`${client} ${id}`)
  }

  /** The items of one client, for one account. Another client gets none of them by its id. */
  of(client: string, account: string): OwnItems {
    return {
      keep: (item) => this.#keep(`${client} ${text(item.id)}`, account, item),
      whole: (input) => {
        if (!Array.isArray(input)) return input
        return input.flatMap((item: unknown) => this.#whole(fields(item), client, account) ?? item)
      },
    }
  }

  #keep(key: string, account: string, item: Fields): void {
    const size = JSON.stringify(item).length
    if (text(item.id) === undefined || size > LARGEST) return
    this.#drop(key)
    this.#kept.set(key, { item, account, size })
    this.#size += size
    for (const oldest of this.#kept.keys()) {
      if (this.#size <= MOST) break
      this.#drop(oldest)
    }
  }

  /** The item that a reference names; none where this account cannot read it. `undefined` for any other item. */
  #whole(item: Fields | undefined, client: string, account: string): Fields[] | undefined {
    if (item?.type !== 'item_reference') return undefined
    const kept = this.#kept.get(`${client} ${String(item.id)}`)
    if (!kept) throw new Untranslatable('input', UNKNOWN)
    return kept.account === account || kept.item.encrypted_content === undefined ? [kept.item] : []
  }

  #drop(key: string): void {
    this.#size -= this.#kept.get(key)?.size ?? 0
    this.#kept.delete(key)
  }
}
