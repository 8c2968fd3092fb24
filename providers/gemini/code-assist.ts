import type { CallContext, Credential } from '../../config/provider.js'
import { join } from '../address.js'
import { googleError, type GoogleError } from '../google-errors.js'
import { fields, parseJson, type Fields } from '../json.js'
import { authHeaders } from './credentials.js'

/** A refusal of a call that the gateway made itself. */
export class CodeAssistRefusal extends Error {
  constructor(
    method: string,
    readonly status: number,
    readonly error: GoogleError | undefined,
  ) {
    super(`${method} answered ${status}${error?.reason === undefined ? '' : ` (${error.reason})`}`)
    this.name = 'CodeAssistRefusal'
  }
}

export type CodeAssist = (method: string, body?: object) => Promise<Fields>

/** Calls Code Assist in an account's name: POST with a body, else GET. */
export function codeAssist(
  upstream: string,
  credential: Credential,
  { fetch, signal }: CallContext,
): CodeAssist {
  return async function codeAssist(method, body) {
    const headers = {
      ...authHeaders(credential),
      'content-type': 'application/json',
      'user-agent': 'codex-pool',
    }
    const post = body === undefined ? { method: 'GET' } : { method: 'POST', body: JSON.stringify(body) }
    const url = join(upstream, `/v1internal${method}`)
    const response = await fetch(url, { ...post, headers, signal, redirect: 'manual' })
    const answer = parseJson(await response.text())
    if (response.ok) return fields(answer) ?? {}
    throw new CodeAssistRefusal(method, response.status, googleError(answer))
  }
}
