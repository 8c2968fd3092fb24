import type { CodexAccountOptions } from './codex/account.js'
import type { OpenAiKeyOptions } from './codex/openai.js'
import type { GeminiAccountOptions } from './gemini/account.js'
import type { GeminiKeyOptions } from './gemini/api.js'
import type { OAuthClient } from './gemini/token-endpoint.js'

export interface SimulatorOptions {
  /** ChatGPT accounts. @default none */
  codex?: readonly CodexAccountOptions[]
  /** OpenAI API keys. @default none */
  codexApiKeys?: readonly OpenAiKeyOptions[]
  /** Code Assist accounts. @default none */
  gemini?: readonly GeminiAccountOptions[]
  /** Gemini API keys. @default none */
  geminiApiKeys?: readonly GeminiKeyOptions[]
  /** The OAuth client that Google's token endpoint accepts. @default any */
  geminiClient?: OAuthClient
  /** @default '127.0.0.1' */
  host?: string
  /** 0 picks a free one. @default 0 */
  port?: number
  /** The simulator's clock; ms since 1970. @default Date.now */
  now?: () => number
  /** Pause before each event of a stream, to look like a model that thinks; ms. @default 0 */
  pauseMs?: number
  /**
   * Refuses encrypted reasoning and thought signatures that another account was given. What the real upstreams do is
   * not known. @default false
   */
  strictHistory?: boolean
  /** How many requests `requests` remembers. @default 10000 */
  remember?: number
}
