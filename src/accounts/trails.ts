import { hash } from 'node:crypto'
import type { History, Opening } from '../../config/provider.js'
import type { Pins } from './pins.js'

/** Conversations that wait at one mark; the oldest is forgotten first. Many may have begun with the same words. */
const MOST_WAITING = 128
/** Characters. Shorter things, such as "Done.", are said in many conversations. */
const TELLING = 32
/** Things that the model said, of one request, by which a conversation is known without all that stands in front. */
const MOST_SAID = 8

/** One request on the trail of its conversation. */
export interface Trail {
  /** The same for all requests that were recognised as one conversation. */
  readonly conversation: string
  readonly scope: string
  readonly history: History
  /** A short hash of the history's setting. */
  readonly setting: string
  /** A hash of each beginning of the history: `marks[i]` stands for the parts up to `i`. */
  readonly marks: readonly string[]
  /** The part up to which the conversation was known. */
  readonly known: number
}

/**
 * Recognises conversations that have no name by what their requests repeat. Each request leaves marks, which are hashes of
 * beginnings of its history: one that ends with the request, and one that ends with the beginning of its answer. The next
 * request of the conversation holds both of them.
 *
 * A conversation waits at these two marks until it goes on. Several may wait at one mark: those that began with the same
 * words. Marks that it has passed are known by it alone, so that a conversation can go on from an earlier point.
 *
 * All is kept in one bounded map: `w:MARK` conversations that wait there, as `CONVERSATION.SETTING`, `p:MARK` the one that
 * has passed, `s:HASH` the one in which this was said, `n:HASH` the one of this name.
 */
export class Trails {
  constructor(
    /** Apart from the pins of conversations with names: many a request of a script belongs to no conversation. */
    readonly pins: Pins,
  ) {}

  /**
   * Finds the conversation that a request goes on with; `fresh` is the name of a new one.
   * @param scope within which histories are compared: one provider and one client
   */
  follow(scope: string, history: History, fresh: string): Trail {
    const marks: string[] = []
    for (const { byModel, text } of history.parts) marks.push(next(marks.at(-1) ?? scope, byModel, text))
    const end = marks.length - 1
    const setting = next(scope, false, history.setting).slice(0, 4)
    const found =
      this.#byName(scope, history, end) ??
      this.#byBeginning(history, marks, setting) ??
      this.#byWords(scope, history) ??
      this.#byFirstMessages(history, marks, setting)
    return { scope, history, setting, marks, conversation: fresh, known: end, ...found }
  }

  #byName(scope: string, { names }: History, end: number): Found {
    const known = names.map((name) => this.pins.get(named(scope, name))).find((it) => it !== undefined)
    return known === undefined ? undefined : { conversation: known, known: end }
  }

  /**
   * By the longest known beginning. Not by the whole: a request that repeats the first request of a conversation begins
   * another one, unless the client sends it once more.
   */
  #byBeginning({ parts, repeated }: History, marks: readonly string[], setting: string): Found {
    const answered = parts.findIndex(({ byModel }) => byModel)
    for (let at = marks.length - (repeated ? 1 : 2); at >= 0; at--) {
      const { byModel } = parts[at]!
      const goesOn = byModel || (parts[at + 1]?.byModel && at > answered && answered >= 0)
      const conversation =
        (goesOn || at === marks.length - 1 ? this.#waiting(marks[at]!, setting) : undefined) ??
        (byModel ? this.pins.get(`p:${marks[at]}`) : undefined)
      if (conversation !== undefined) return { conversation, known: at }
    }
    return undefined
  }

  /** By the last thing that the model said which was said in one conversation only, where the beginning was cut off. */
  #byWords(scope: string, { parts }: History): Found {
    for (let at = parts.length - 1; at >= 0; at--) {
      const { byModel, text } = parts[at]!
      if (!byModel || text.length < TELLING) continue
      const conversation = this.pins.get(saying(scope, text))
      if (conversation !== undefined && conversation !== SEVERAL) return { conversation, known: at }
    }
    return undefined
  }

  /** By the client's first messages, if the answer could not be read: one of those that wait for their second turn. */
  #byFirstMessages({ parts }: History, marks: readonly string[], setting: string): Found {
    const known = parts.findIndex(({ byModel }) => byModel) - 1
    const conversation = known < 0 ? undefined : this.#waiting(marks[known]!, setting)
    return conversation === undefined ? undefined : { conversation, known }
  }

  /** One of the conversations that wait at a mark, of the same setting if there is one. The next request gets another. */
  #waiting(mark: string, setting: string): string | undefined {
    const waiters = this.#waitersAt(mark)
    const found = waiters.find((it) => it.endsWith(`.${setting}`)) ?? waiters[0]
    if (waiters.length > 1) this.#put(mark, [...waiters.filter((it) => it !== found), found!])
    return found?.split('.', 1)[0]
  }

  #waitersAt(mark: string): string[] {
    return this.pins.get(`w:${mark}`)?.split(' ') ?? []
  }

  #put(mark: string, waiters: readonly string[]): void {
    if (waiters.length === 0) this.pins.delete(`w:${mark}`)
    else this.pins.set(`w:${mark}`, waiters.slice(-MOST_WAITING).join(' '))
  }

  #wait(mark: string, { conversation, setting }: Trail): void {
    this.#put(mark, [...this.#othersAt(mark, conversation), `${conversation}.${setting}`])
  }

  #othersAt(mark: string, conversation: string): string[] {
    return this.#waitersAt(mark).filter((it) => !it.startsWith(`${conversation}.`))
  }

  /** Remembers a request that an account serves. */
  served(trail: Trail): void {
    const { scope, history, marks, known, conversation } = trail
    const { parts, names } = history
    for (const mark of marks.slice(Math.max(known - 1, 0), known + 1))
      this.#put(mark, this.#othersAt(mark, conversation))
    for (let at = known; at < marks.length - 1; at++)
      if (parts[at]!.byModel) this.pins.set(`p:${marks[at]}`, conversation)
    const said = parts.slice(known + 1).filter(({ byModel }) => byModel)
    for (const { text } of said.slice(-MOST_SAID)) this.#remember(scope, text, conversation)
    for (const name of names) this.pins.set(named(scope, name), conversation)
    if (marks.length > 0) this.#wait(marks.at(-1)!, trail)
  }

  /** Remembers how the answer to a request begins. */
  answered(trail: Trail, { names, texts }: Opening): void {
    const { scope, marks, conversation } = trail
    for (const name of names) this.pins.set(named(scope, name), conversation)
    for (const text of texts) {
      if (marks.length > 0) this.#wait(next(marks.at(-1)!, true, text), trail)
      this.#remember(scope, text, conversation)
    }
  }

  #remember(scope: string, text: string, conversation: string): void {
    if (text.length < TELLING) return
    const key = saying(scope, text)
    const known = this.pins.get(key)
    this.pins.set(key, known === undefined || known === conversation ? conversation : SEVERAL)
  }
}

type Found = Pick<Trail, 'conversation' | 'known'> | undefined

/** Stands in place of a conversation where the same was said in several. */
const SEVERAL = '-'

/** The mark behind another one. */
const next = (mark: string, byModel: boolean, text: string): string =>
  hash('sha256', `${mark}${byModel ? '<' : '>'}${text}`, 'base64url').slice(0, 22)
const saying = (scope: string, text: string): string => `s:${next(scope, true, text)}`
const named = (scope: string, name: string): string => `n:${next(scope, false, name)}`
