import { field, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Dialogue, World } from '../upstream.js'
import { type Generation, generate } from './generation.js'

const ROOT =
  /^\/ws\/google\.ai\.generativelanguage\.v1(?:alpha|beta)?\.GenerativeService\.BidiGenerateContent$/

export const isLive = ({ path }: SimRequest): boolean => ROOT.test(path)

/** The key that a session is opened with. */
export type LiveKey = Generation['by'] & {
  /** With true, the key is refused as not valid. */
  revoked: boolean
  /** With true, a Live session is refused for want of quota. */
  spent: boolean
}

/** A Live session of the Gemini API: a setup, then turns. A key that is not valid is refused by the close frame. */
export class LiveDialogue implements Dialogue {
  readonly headers = {}
  readonly binary = true
  #model: string | undefined

  constructor(
    private readonly request: SimRequest,
    private readonly key: LiveKey,
    private readonly world: World,
  ) {}

  receive(frame: unknown): readonly object[] {
    const model = text(frame, 'setup', 'model')
    if (model !== undefined) {
      this.#model = model.replace(/^models\//, '')
      return this.#refusal() ? [] : [{ setupComplete: {} }]
    }
    if (this.#model === undefined || field(frame, 'clientContent', 'turnComplete') !== true) return []
    const body = { contents: field(frame, 'clientContent', 'turns') }
    const events = generate({
      request: this.request,
      body,
      model: this.#model,
      by: this.key,
      world: this.world,
    })
    const usage = field(events.at(-1), 'usageMetadata')
    const turns = events.map((event) => ({
      serverContent: { modelTurn: field(event, 'candidates', 0, 'content') },
    }))
    return [...turns, { serverContent: { turnComplete: true }, usageMetadata: live(usage) }]
  }

  ends(): { readonly code: number; readonly reason: string } | undefined {
    return this.#refusal()
  }

  refuse(_frame: unknown, { body }: { readonly body?: unknown }): object {
    return { error: field(body, 'error') }
  }

  #refusal() {
    if (this.#model === undefined)
      return { code: 1007, reason: 'setup must be the first message and only the first' }
    if (this.key.revoked) return { code: 1007, reason: 'API key not valid. Please pass a valid API key.' }
    return this.key.spent
      ? { code: 1011, reason: 'You exceeded your current quota, please check your plan and billing details.' }
      : undefined
  }
}

/** A Live session has a name of its own for the answer's tokens. */
function live(usage: unknown): object {
  const { candidatesTokenCount, ...others } = usage as Record<string, unknown>
  return { ...others, responseTokenCount: candidatesTokenCount }
}
