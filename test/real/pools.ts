import { faults, geminiFaults, type WireFault } from '../../src/simulator/index.js'
import type { StageOptions } from './stage.js'

/** Three accounts of one kind, and the refusal of one that has reached its limit. */
export interface Three {
  readonly options: StageOptions
  readonly limit: () => WireFault
}

export type Pool = 'ChatGPT accounts' | 'OpenAI API keys' | 'Code Assist accounts' | 'Gemini API keys'

const DAY_MS = 86_400_000

export const pools: Readonly<Record<Pool, Three>> = {
  'ChatGPT accounts': {
    options: { codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }] },
    limit: () => faults.usageLimit({ resetsAt: Date.now() + DAY_MS }),
  },
  'OpenAI API keys': {
    options: { codexApiKeys: [{ id: 'kate' }, { id: 'liam' }, { id: 'mona' }] },
    limit: () => faults.refusal({ word: 'insufficient_quota' }),
  },
  'Code Assist accounts': {
    options: { gemini: [{ id: 'dora' }, { id: 'emil' }, { id: 'fred' }] },
    limit: () => geminiFaults.asList(geminiFaults.quotaExhausted()),
  },
  'Gemini API keys': {
    options: { geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }, { id: 'ines' }] },
    limit: () => geminiFaults.asList(geminiFaults.dailyQuota()),
  },
}
