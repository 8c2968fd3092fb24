import { CodexAccount, type CodexAccountOptions } from './codex/account.js'
import { type OpenAiKey, openAiKey } from './codex/openai.js'
import { GeminiAccount, type GeminiAccountOptions } from './gemini/account.js'
import { type GeminiKey, geminiKey } from './gemini/api.js'
import type { SimulatorOptions } from './options.js'
import type { CredentialFile } from './pool-files.js'

/** Everybody whom the upstreams know. */
export class Accounts {
  readonly codex = { accounts: [] as CodexAccount[], apiKeys: [] as OpenAiKey[] }
  readonly gemini = { accounts: [] as GeminiAccount[], apiKeys: [] as GeminiKey[] }
  readonly #now: () => number

  constructor(options: SimulatorOptions, now: () => number) {
    this.#now = now
    for (const account of options.codex ?? []) this.addCodex(account)
    for (const account of options.gemini ?? []) this.addGemini(account)
    this.codex.apiKeys.push(...(options.codexApiKeys ?? []).map(openAiKey))
    this.gemini.apiKeys.push(...(options.geminiApiKeys ?? []).map(geminiKey))
  }

  addCodex(options: CodexAccountOptions): CodexAccount {
    const account = new CodexAccount(options, this.#now)
    this.codex.accounts.push(account)
    return account
  }

  addGemini(options: GeminiAccountOptions): GeminiAccount {
    const account = new GeminiAccount(options, this.#now)
    this.gemini.accounts.push(account)
    return account
  }

  credentialFiles(): CredentialFile[] {
    return [
      ...[...this.codex.accounts, ...this.codex.apiKeys].map((it): CredentialFile => [it.id, it.authJson()]),
      ...this.gemini.accounts.map((it): CredentialFile => [`gemini_${it.id}`, it.oauthCreds()]),
      ...this.gemini.apiKeys.map((it): CredentialFile => [`gemini_${it.id}`, it.credential()]),
    ]
  }
}

/** @throws if nobody of that id is there */
export function find<T extends { id: string }>(accounts: readonly T[], id: string): T {
  const account = accounts.find((candidate) => candidate.id === id)
  if (!account) throw new Error(`the simulator has no account "${id}"`)
  return account
}
