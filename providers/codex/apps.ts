import type { Answer, ClientRequest } from '../../config/provider.js'
import { type Fields, fields, text } from '../json.js'

/** The MCP server of connected apps; Codex 0.118 knows it under `wham/apps`. */
const isTools = (rest: string): boolean => /^\/(ps\/mcp|wham\/apps)\b/.test(rest)

/**
 * The lists of apps and plugins that earlier versions of Codex fetch at their start outside `wham/` and `ps/`, by path, as
 * an account without any would tell them. `plugins/list` is not among them: Codex 0.118 may uninstall each
 * plugin that it does not name.
 */
const NOTHING_LISTED: Readonly<Record<string, unknown>> = {
  // Up to 0.118.
  '/connectors/directory/list': { apps: [] },
  '/connectors/directory/list_workspace': { apps: [] },
  // Up to 0.147.
  '/plugins/featured': [],
}

/** Whether a path under `/backend-api` leads to a person's connected apps and plugins. Only the owner's account may answer. */
export const isApps = (rest: string): boolean => isTools(rest) || Object.hasOwn(NOTHING_LISTED, rest)

/** The answer to a caller without an account in the pool. Codex logs a warning at its start if there is none. */
export function noApps(request: ClientRequest, rest: string): Answer | undefined {
  if (isTools(rest)) return noTools(request)
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { status: 405, headers: { allow: 'GET, HEAD' } }
  return { status: 200, body: NOTHING_LISTED[rest] }
}

/** The results of an MCP server without a tool (Model Context Protocol, streamable HTTP transport). */
const NO_TOOLS: Readonly<Record<string, object>> = {
  ping: {},
  'tools/list': { tools: [] },
  'resources/list': { resources: [] },
  'resources/templates/list': { resourceTemplates: [] },
  'prompts/list': { prompts: [] },
}

/** Codex prints an error at every start if this server is not there. */
function noTools(request: ClientRequest): Answer | undefined {
  // The transport's word for "no stream of events here", and for a session that cannot be ended.
  if (request.method !== 'POST') return { status: 405, headers: { allow: 'POST' } }
  const body = request.json()
  // Not read yet: this answer is asked for once more when it is.
  if (body === undefined) return undefined
  const replies = (Array.isArray(body) ? body : [body]).flatMap((call) => replyTo(fields(call)) ?? [])
  if (replies.length === 0) return { status: 202 }
  return { status: 200, body: Array.isArray(body) ? replies : replies[0] }
}

/** A JSON-RPC response; none for a notification. */
function replyTo(call: Fields | undefined): object | undefined {
  if (call?.id === undefined || typeof call.method !== 'string') return undefined
  const { id, method } = call
  const result =
    method === 'initialize'
      ? {
          protocolVersion: text(fields(call.params)?.protocolVersion) ?? '2025-06-18',
          capabilities: { tools: {} },
          serverInfo: { name: 'codex-pool', version: '1' },
        }
      : NO_TOOLS[method]
  if (result) return { jsonrpc: '2.0', id, result }
  return { jsonrpc: '2.0', id, error: { code: -32601, message: 'there are no tools here' } }
}
