import type { OutgoingHttpHeaders } from 'node:http'
import type { Answer } from './answer.js'
import type { Reply } from './reply.js'
import type { SimRequest, UpstreamKind } from './request.js'

/** One simulated upstream: a family of paths and what it answers there. */
export interface Upstream {
  readonly kind: UpstreamKind
  owns(path: string): boolean
  /** Id of the account whose credential came, expired or not. */
  account(request: SimRequest): string | undefined
  answer(request: SimRequest): Answer
  /** Lets a WebSocket in, or refuses it over HTTP. An upstream without this answers 426. */
  upgrade?(request: SimRequest): Answer | Dialogue
}

/** What an upstream says over one WebSocket. */
export interface Dialogue {
  /** Headers of the 101. */
  readonly headers: OutgoingHttpHeaders
  /** Does what a frame asks for, and gives the frames that answer it. */
  receive(frame: unknown): readonly object[]
  /** The frame that refuses another one, as HTTP would with this answer. */
  refuse(frame: unknown, answer: Answer): object
}

/** What the upstreams share. */
export interface World {
  /** ms since 1970 */
  now(): number
  /** Remembers something that a request did wrong, although it may still be answered. */
  violation(request: SimRequest, what: string): void
  /** What the model says. */
  reply(request: SimRequest, asked: Asked): Reply
  /** Whether items that only their own account can read are refused when another account sends them. */
  readonly strictHistory: boolean
}

/** What the model is asked, in the words of neither API. */
export interface Asked {
  readonly model: string | undefined
  readonly account: string
  /** What the person wrote last. */
  readonly prompt: string
  /** What the tools answered since then, in order. */
  readonly toolOutputs: readonly string[]
  /** The JSON schema that the answer must fit; such requests are the client's own and are answered without a script. */
  readonly schema: unknown
}
