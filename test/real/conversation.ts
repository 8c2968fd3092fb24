import assert from 'node:assert/strict'
import type { ReplyItem, WireFault } from '../../src/simulator/index.js'
import type { Stage } from './stage.js'

/** The user's words in a conversation of four turns. In the second one the model uses a tool. */
export const PROMPTS = [
  'turn 1: hello',
  'turn 2: use the tool',
  'turn 3: and now?',
  'turn 4: goodbye',
] as const

export interface FourTurns {
  /** The call of the tool, as the model of this client makes it. */
  readonly tool: ReplyItem
  /** A part of the tool's output. */
  readonly output: string
  /** The refusal of an account that has reached its limit. */
  readonly limit: WireFault
  /** The client's beginnings of a prompt are in the account's cache before the first turn. @default false */
  readonly warmsUp?: boolean
  /** The model that the turns go to, for a client that asks others about them. @default any */
  readonly model?: string
}

interface Asked {
  readonly account: string
  readonly cached: boolean
}

/**
 * Scripts the model for four turns, and lets the account reach a limit between the second and the third one.
 *
 * @returns a check of the answers that the client showed: each is right, the turns before the limit came from one
 *   account and those after it from another one, and every request finds its past in the prompt cache of its account
 *   but the first one there
 */
export function fourTurns(stage: Stage, conversation: FourTurns): (answers: readonly string[]) => void {
  const { tool, output, limit, warmsUp = false } = conversation
  const asked: Asked[] = []
  const limits: { readonly hits: number }[] = []
  stage.sim.reply(({ prompt, model, account, toolOutputs, cachedTokens }) => {
    const turn = Number(/turn (\d)/.exec(prompt)?.[1])
    // Clients ask for titles and the like between the turns.
    if (!turn || model !== (conversation.model ?? model)) return 'Nothing.'
    asked.push({ account, cached: cachedTokens > 0 })
    if (turn !== 2) return answer(account, turn)
    if (toolOutputs.length === 0) return [tool]
    limits.push(stage.sim.fail({ account, when: isGeneration, times: Infinity, with: limit }))
    limits.push(stage.sim.fail({ account, frame: true, times: Infinity, with: limit }))
    return answer(account, turn, toolOutputs.at(-1)?.includes(output) ? 'with the tool' : 'without the tool')
  })
  return function check(answers) {
    const [before = '', after = ''] = new Set(asked.map(({ account }) => account))
    assert.deepEqual(
      answers.map((text) => text.trim()),
      [answer(before, 1), answer(before, 2, 'with the tool'), answer(after, 3), answer(after, 4)],
    )
    assert.deepEqual(asked, [
      { account: before, cached: warmsUp && asked[0]?.cached },
      { account: before, cached: true },
      { account: before, cached: true },
      { account: after, cached: warmsUp && asked[3]?.cached },
      { account: after, cached: true },
    ])
    assert.ok(
      limits.some(({ hits }) => hits > 0),
      'the limit was met',
    )
  }
}

const answer = (account: string, turn: number, how = 'at once'): string =>
  `${account} answers turn ${turn} ${how}.`

const isGeneration = ({ method, path }: { method: string; path: string }): boolean =>
  method === 'POST' && /(\/responses|\/completions|enerateContent)$/.test(path)
