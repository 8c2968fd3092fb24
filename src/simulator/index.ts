import type { SimulatorOptions } from './options.js'
import { Simulator } from './simulator.js'

/**
 * Starts a strict stand-in for the upstreams of Codex CLI and Gemini CLI, for tests and for trying things out.
 *
 * @throws if the port cannot be listened on
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new Simulator(options)
  await simulator.up()
  return simulator
}

export { faults } from './faults.js'
export { geminiFaults } from './gemini/faults.js'
export type { Decision } from './login/person.js'
export { field, list, text } from './json.js'
export type { AuthJson, CodexAccount, CodexAccountOptions } from './codex/account.js'
export type { OpenAiKey, OpenAiKeyOptions } from './codex/openai.js'
export type { CodexCredits, CodexWindow, CodexWindows, WindowName } from './codex/quota.js'
export type { Fault, FaultFunction, FrameFault, WireFault } from './fault.js'
export type { FaultRule, FrameRule, RequestRule, ScriptedFault } from './fault-script.js'
export type { GeminiAccount, GeminiAccountOptions, GeminiTier, OAuthCreds } from './gemini/account.js'
export type { GeminiKey, GeminiKeyOptions } from './gemini/api.js'
export type { GeminiBucket } from './gemini/quota.js'
export type { OAuthClient } from './gemini/token-endpoint.js'
export type { SimulatorOptions } from './options.js'
export type { ModelRequest, Reply, ReplyItem, ReplyScript, ReplyUsage, ScriptedReply } from './reply.js'
export type { SimRequest, UpstreamKind } from './request.js'
export type { SimulatorEnvironment } from './environment.js'
export type { Simulator } from './simulator.js'
