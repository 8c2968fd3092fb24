import { Simulator, type SimulatorOptions } from './simulator.js'

/**
 * Starts a strict stand-in for the upstreams of Codex CLI and Gemini CLI, for tests and for trying things out: ChatGPT,
 * OpenAI, Code Assist, the Gemini API and their token endpoints, on one port of this machine.
 *
 * @throws if the port cannot be listened on
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new Simulator(options)
  await simulator.up()
  return simulator
}

export type { Simulator, SimulatorEnvironment, SimulatorOptions } from './simulator.js'

// Accounts and keys.
export type { AuthJson, CodexAccount, CodexAccountOptions } from './codex/account.js'
export type { CodexCredits, CodexWindow, CodexWindows, ModelLimit, ModelLimitOptions } from './codex/quota.js'
export type { WindowName } from './codex/quota.js'
export type { ResetCredit, ResetCreditOptions } from './codex/quota.js'
export type { OpenAiKey, OpenAiKeyOptions } from './codex/openai.js'
export type {
  GeminiAccount,
  GeminiAccountOptions,
  GeminiBucket,
  OAuthClient,
  OAuthCreds,
} from './gemini/account.js'
export type { GeminiKey, GeminiKeyOptions } from './gemini/api.js'

// Scripts of faults and of the model's replies.
export { faults, type InStream, type RefusalScript } from './faults.js'
export type { UnreadableWording } from './codex/errors.js'
export { Pause } from './fault.js'
export { geminiFaults } from './gemini/refusals.js'
export type { Fault, FaultFunction, FrameFault, WireFault } from './fault.js'
export type { FaultRule, FrameRule, RequestRule, ScriptedFault } from './fault.js'
export type { ModelRequest, Reply, ReplyItem, ReplyScript, ReplyUsage } from './model.js'

// Requests that arrived, and upstreams of your own.
export { field, list, text } from './json.js'
export type { SimRequest, UpstreamKind } from './request.js'
export type { Answer, Dialogue, EventStream, Upstream } from './upstream.js'
