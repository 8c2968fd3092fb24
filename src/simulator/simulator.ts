import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CodexAccount, type CodexAccountOptions } from './codex/account.js'
import { createBackend } from './codex/backend.js'
import type { UnreadableWording } from './codex/errors.js'
import { createOpenAi, openAiKey, type OpenAiKey, type OpenAiKeyOptions } from './codex/openai.js'
import { type FaultRule, FaultScript, type ScriptedFault } from './fault.js'
import { GeminiAccount, type GeminiAccountOptions, type OAuthClient } from './gemini/account.js'
import { createGeminiApi, geminiKey, type GeminiKey, type GeminiKeyOptions } from './gemini/api.js'
import { createGeminiChat } from './gemini/chat.js'
import { createCodeAssist } from './gemini/code-assist.js'
import { Journal } from './journal.js'
import { defaultReply, replyTo, type ReplyScript } from './model.js'
import type { SimRequest } from './request.js'
import { SimulatorServer } from './server.js'
import { createGoogleTokens, createIssuer } from './token-endpoints.js'
import type { Upstream, World } from './upstream.js'

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
  /** Upstreams of your own, such as one for a custom provider. They are asked before the built-in ones. @default none */
  upstreams?: (simulator: Simulator) => readonly Upstream[]
  /** @default '127.0.0.1' */
  host?: string
  /** 0 picks a free one. @default 0 */
  port?: number
  /** The simulator's clock; ms since 1970. @default Date.now */
  now?: () => number
  /** Pause before each event of a stream, to look like a model that thinks; ms. @default 0 */
  pauseMs?: number
  /**
   * Refuses encrypted content, wherever it is nested, and thought signatures that another account was given. A wording
   * is the one of {@link faults.unreadable}; true is `'item'`. @default false
   */
  strictHistory?: boolean | UnreadableWording
  /** How many requests `requests` remembers. @default 10000 */
  remember?: number
}

/** The `UPSTREAM_*` variables of the gateway. */
export type SimulatorEnvironment = Simulator['environment']

/** A strict stand-in for all upstreams on one port of this machine. */
export class Simulator {
  /** ChatGPT accounts and OpenAI API keys. */
  readonly codex: { readonly accounts: CodexAccount[]; readonly apiKeys: OpenAiKey[] }
  /** Code Assist accounts and Gemini API keys. */
  readonly gemini: { readonly accounts: GeminiAccount[]; readonly apiKeys: GeminiKey[] }
  /** The simulator's clock; ms since 1970. */
  readonly now: () => number
  readonly #host: string
  readonly #script: FaultScript
  readonly #journal: Journal
  readonly #server: SimulatorServer
  #reply: ReplyScript = defaultReply
  #port: number

  constructor(options: SimulatorOptions) {
    const { codex = [], codexApiKeys = [], gemini = [], geminiApiKeys = [] } = options
    this.now = options.now ?? Date.now
    this.#script = new FaultScript(this.now)
    this.#host = options.host ?? '127.0.0.1'
    this.#port = options.port ?? 0
    this.#journal = new Journal(options.remember ?? 10_000)
    this.codex = { accounts: [], apiKeys: codexApiKeys.map(openAiKey) }
    this.gemini = {
      accounts: gemini.map((account) => new GeminiAccount(account, this.now)),
      apiKeys: geminiApiKeys.map(geminiKey),
    }
    for (const account of codex) this.addCodex(account)
    this.#server = new SimulatorServer({
      upstreams: this.#upstreams(options),
      script: this.#script,
      now: this.now,
      record: (request) => this.#journal.add(request, this.#port),
      pauseMs: options.pauseMs ?? 0,
    })
  }

  get url(): string {
    return `http://${this.#host}:${this.#port}`
  }

  /** The gateway's variables that point its providers here. */
  get environment() {
    return {
      UPSTREAM_RESPONSES_BASE: `${this.url}/backend-api/codex`,
      UPSTREAM_WHAM_BASE: `${this.url}/backend-api`,
      UPSTREAM_REFRESH_BASE: this.url,
      UPSTREAM_OPENAI_BASE: `${this.url}/openai/v1`,
      UPSTREAM_GEMINI_BASE: this.url,
      UPSTREAM_GEMINI_REFRESH_BASE: this.url,
      UPSTREAM_GEMINI_LOGIN_BASE: this.url,
      UPSTREAM_GEMINI_API_BASE: this.url,
    }
  }

  /** Every request that has arrived, oldest first. */
  get requests(): readonly SimRequest[] {
    return this.#journal.requests
  }

  /**
   * The rules that requests broke: headers that must reach no upstream, state of another account. A good gateway breaks
   * none.
   */
  get violations(): string[] {
    return this.#journal.violations
  }

  /** Counts of ChatGPT's token endpoint, over all accounts; each account has its own as well. */
  get issuer(): { readonly refreshes: number; readonly reuses: number } {
    const sum = (name: 'refreshes' | 'reuses') =>
      this.codex.accounts.reduce((total, account) => total + account[name], 0)
    return { refreshes: sum('refreshes'), reuses: sum('reuses') }
  }

  /** A ChatGPT account. @throws if there is none of that id */
  account(id: string): CodexAccount {
    return find(this.codex.accounts, id)
  }

  /** A Code Assist account. @throws if there is none of that id */
  geminiAccount(id: string): GeminiAccount {
    return find(this.gemini.accounts, id)
  }

  addCodex(options: CodexAccountOptions): CodexAccount {
    const account = new CodexAccount(options, this.now)
    this.codex.accounts.push(account)
    return account
  }

  /** Scripts a fault for requests or frames to come; the first rule that matches is used. */
  fail(rule: FaultRule): ScriptedFault {
    return this.#script.add(rule)
  }

  /** Scripts the model's replies from now on, on every upstream. */
  reply(script: ReplyScript): void {
    this.#reply = script
  }

  /** A value, such as the client's own token, that must reach no upstream in a header or an address. */
  forbid(value: string): void {
    this.#journal.forbid(value)
  }

  /** The first matching request that has not arrived yet. */
  next(matches: (request: SimRequest) => boolean = () => true): Promise<SimRequest> {
    return this.#journal.next(matches)
  }

  /**
   * Writes the credential file of every account, readable by its owner only: `ID.json`, and `gemini_ID.json` for Gemini.
   * Returns the paths.
   */
  async writePool(dir: string): Promise<string[]> {
    const { codex, gemini } = this
    const files: [id: string, content: object][] = []
    for (const it of [...codex.accounts, ...codex.apiKeys]) files.push([it.id, it.authJson()])
    for (const it of gemini.accounts) files.push([`gemini_${it.id}`, it.oauthCreds()])
    for (const it of gemini.apiKeys) files.push([`gemini_${it.id}`, it.credential()])
    await mkdir(dir, { recursive: true })
    return Promise.all(
      files.map(async ([name, content]) => {
        const path = join(dir, `${name}.json`)
        await writeFile(path, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
        return path
      }),
    )
  }

  /** Refuses connections, as when the upstream is down; open ones are ended. */
  async down(): Promise<void> {
    await this.#server.stop()
  }

  /** Listens again, on the same port. */
  async up(): Promise<void> {
    if (!this.#server.listening) this.#port = await this.#server.listen(this.#host, this.#port)
  }

  /** Ends every connection; twice is harmless. */
  async close(): Promise<void> {
    await this.down()
  }

  #upstreams({ upstreams, geminiClient, strictHistory = false }: SimulatorOptions): Upstream[] {
    const world: World = {
      now: this.now,
      strictHistory,
      violation: (request, what) => this.#journal.violation(request, what),
      reply: (asked) => replyTo(asked, this.#reply),
    }
    return [
      ...(upstreams?.(this) ?? []),
      ...createBackend(this.codex.accounts, world),
      createOpenAi(this.codex.apiKeys, world),
      createIssuer(this.codex.accounts),
      createCodeAssist(this.gemini.accounts, world),
      createGeminiApi(this.gemini.apiKeys, world),
      createGeminiChat(this.gemini.apiKeys, world),
      createGoogleTokens(this.gemini.accounts, geminiClient),
    ]
  }
}

function find<T extends { id: string }>(accounts: readonly T[], id: string): T {
  const account = accounts.find((candidate) => candidate.id === id)
  if (!account) throw new Error(`the simulator has no account "${id}"`)
  return account
}
