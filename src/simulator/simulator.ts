import { Accounts, find } from './accounts.js'
import type { CodexAccount, CodexAccountOptions } from './codex/account.js'
import { createBackend } from './codex/backend.js'
import { createDeviceLogin } from './codex/device.js'
import { createIssuer } from './codex/issuer.js'
import { createOpenAi } from './codex/openai.js'
import { createWhoami } from './codex/whoami.js'
import { environmentFor, type SimulatorEnvironment } from './environment.js'
import { type FaultRule, FaultScript, type ScriptedFault } from './fault-script.js'
import type { GeminiAccount, GeminiAccountOptions } from './gemini/account.js'
import { createGeminiApi } from './gemini/api.js'
import { createGoogleLogin } from './gemini/authorize.js'
import { createCodeAssist } from './gemini/code-assist.js'
import { createTokenEndpoint } from './gemini/token-endpoint.js'
import { Journal } from './journal.js'
import { Consents } from './login/consents.js'
import { type Decision, enterCode, visit } from './login/person.js'
import type { SimulatorOptions } from './options.js'
import { writePoolFiles } from './pool-files.js'
import { defaultReply, replyTo, type ReplyScript } from './reply.js'
import type { SimRequest } from './request.js'
import { SimulatorServer } from './server.js'
import type { Upstream, World } from './upstream.js'
import { violationsOf } from './violations.js'

/** A strict stand-in for all upstreams on one port of this machine. */
export class Simulator {
  /**
   * What requests did wrong: headers that must reach no upstream, state of another account. A good gateway makes none.
   */
  readonly violations: string[] = []
  readonly #options: SimulatorOptions
  readonly #accounts: Accounts
  readonly #script = new FaultScript()
  readonly #journal: Journal
  readonly #forbidden: string[] = []
  readonly #server: SimulatorServer
  #reply: ReplyScript = defaultReply
  #port: number

  constructor(options: SimulatorOptions) {
    const now = options.now ?? Date.now
    this.#options = options
    this.#port = options.port ?? 0
    this.#accounts = new Accounts(options, now)
    this.#journal = new Journal(options.remember ?? 10_000)
    this.#server = new SimulatorServer({
      upstreams: upstreamsOf(this.#accounts, options, this.#world(now)),
      script: this.#script,
      now,
      record: (request) => this.#record(request),
      pauseMs: options.pauseMs ?? 0,
    })
  }

  get url(): string {
    return `http://${this.#options.host ?? '127.0.0.1'}:${this.#port}`
  }

  /** The gateway's variables that point its providers here. */
  get environment(): SimulatorEnvironment {
    return environmentFor(this.url)
  }

  /** ChatGPT accounts and OpenAI API keys. */
  get codex() {
    return this.#accounts.codex
  }

  /** Code Assist accounts and Gemini API keys. */
  get gemini() {
    return this.#accounts.gemini
  }

  /** Everything that has arrived, oldest first. */
  get requests(): readonly SimRequest[] {
    return this.#journal.requests
  }

  /** Counts of ChatGPT's token endpoint, over all accounts; each account has its own as well. */
  get issuer(): { readonly refreshes: number; readonly reuses: number } {
    const sum = (name: 'refreshes' | 'reuses') =>
      this.codex.accounts.reduce((total, it) => total + it[name], 0)
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
    return this.#accounts.addCodex(options)
  }

  addGemini(options: GeminiAccountOptions): GeminiAccount {
    return this.#accounts.addGemini(options)
  }

  /** Scripts a fault for requests or frames to come; the first rule that matches is used. */
  fail(rule: FaultRule): ScriptedFault {
    return this.#script.add(rule)
  }

  /**
   * Does what a person does on an authorization page of ChatGPT or Google. Returns the address that the browser is sent
   * to. @throws if the page refuses the client's request
   */
  visit(url: string, decision: Decision): Promise<string> {
    return visit(url, decision)
  }

  /** Enters a code of ChatGPT's device login, as a person. @throws if nobody has been given that code */
  enterCode(code: string, decision: Decision): Promise<void> {
    return enterCode(`${this.url}/codex/device`, code, decision)
  }

  /** Takes every scripted fault away. */
  heal(): void {
    this.#script.clear()
  }

  /** Scripts what the model says from now on, on every upstream. */
  reply(script: ReplyScript): void {
    this.#reply = script
  }

  /** A value, such as the client's own token, that must reach no upstream in a header or an address. */
  forbid(value: string): void {
    this.#forbidden.push(value)
  }

  /** The first matching request that has not arrived yet. @throws the signal's reason when it is aborted */
  next(matches: (request: SimRequest) => boolean = () => true, signal?: AbortSignal): Promise<SimRequest> {
    return this.#journal.next(matches, signal)
  }

  /** Writes a credential file for everybody: `ID.json`, and `gemini_ID.json` for Gemini. Returns the paths. */
  writePool(dir: string): Promise<string[]> {
    return writePoolFiles(dir, this.#accounts.credentialFiles())
  }

  /** Refuses connections, as when the upstream is down; open ones are ended. */
  async down(): Promise<void> {
    await this.#server.stop()
  }

  /** Listens again, on the same port. */
  async up(): Promise<void> {
    if (this.#server.listening) return
    this.#port = await this.#server.listen(this.#options.host ?? '127.0.0.1', this.#port)
  }

  /** Ends every connection; twice is harmless. */
  async close(): Promise<void> {
    await this.down()
  }

  #record(request: SimRequest): void {
    this.violations.push(...violationsOf(request, this.#port, this.#forbidden))
    this.#journal.add(request)
  }

  #world(now: () => number): World {
    return {
      now,
      strictHistory: this.#options.strictHistory ?? false,
      violation: (request, what) => void this.violations.push(`${request.method} ${request.path}: ${what}`),
      reply: (request, asked) => replyTo({ ...asked, request }, this.#reply),
    }
  }
}

function upstreamsOf(
  { codex, gemini }: Accounts,
  { geminiClient }: SimulatorOptions,
  world: World,
): Upstream[] {
  const atChatGpt = new Consents<CodexAccount>(world.now)
  const atGoogle = new Consents<GeminiAccount>(world.now)
  return [
    ...createBackend(codex.accounts, world),
    createOpenAi(codex.apiKeys, world),
    createIssuer(codex.accounts, atChatGpt, world),
    createDeviceLogin(codex.accounts, atChatGpt, world),
    createWhoami(codex.accounts),
    createCodeAssist(gemini.accounts, world),
    createGeminiApi(gemini.apiKeys, world),
    createTokenEndpoint(gemini.accounts, atGoogle, geminiClient),
    createGoogleLogin(gemini.accounts, atGoogle, geminiClient),
  ]
}
