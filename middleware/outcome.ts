import type { IncomingMessage } from 'node:http'
import type { Answer } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'

/** How the search for an account ended. */
export type Outcome =
  | {
      readonly kind: 'upstream'
      readonly answer: HeldAnswer
      readonly account: Account
      readonly release: () => void
    }
  | { readonly kind: 'own'; readonly answer: Answer }
  /** The client left. */
  | { readonly kind: 'left' }

/** No search was needed: the answer is made of what many accounts said. */
export interface Pooled {
  readonly kind: 'pooled'
  readonly answer: Answer
}

/** An upstream's answer of which nothing has reached the client yet. */
export interface HeldAnswer {
  readonly status: number
  readonly response: IncomingMessage
  /** What has been read of the body so far. */
  readonly begun: readonly Buffer[]
  /** Whether the body has ended with it. */
  readonly ended: boolean
  /** Gives the answer up; the upstream's connection is closed if it is not at its end. */
  readonly discard: () => void
  /** Tells the forwarder that the answer went through to its end. */
  readonly done: () => void
  /** Calls back if the upstream breaks off. */
  readonly onBroken: (listener: () => void) => void
}
