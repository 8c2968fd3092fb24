import type { Exhaustion, PoolAccount, Quota, SocketProtocol } from '../../config/provider.js'
import { type Fields, fields, number, text } from '../json.js'
import { placeOf } from './requests.js'
import { members, poolCredits, poolWindows, type UsageWindow } from './pool-quota.js'
import { NAMES, quotaWindow, resetAt } from './quota.js'

const TURN_STATE = 'x-codex-turn-state'
const OVER = new Set(['response.completed', 'response.failed', 'response.incomplete', 'error'])

/** How Codex talks over WebSockets: the same JSON as in the events of a stream, one message each. */
export const codexSocket: SocketProtocol = {
  serves: ({ path }) => {
    const { area, rest } = placeOf(path)
    return area === 'responses' && (rest === '/responses' || rest.startsWith('/realtime'))
  },
  begins: (message) => {
    const request = fields(message)
    if (request?.type !== 'response.create') return undefined
    // `generate: false` warms the connection up before there is a prompt.
    return { model: text(request.model), counts: request.generate !== false }
  },
  ends: (message) => OVER.has(text(fields(message)?.type) ?? ''),
  reads: new Set([...OVER, 'codex.rate_limits', 'response.metadata']),
  quota: quotaFromMessage,
  withPoolQuota,
  bound: (message) => {
    const body = fields(message)
    const state =
      text(fields(body?.headers)?.[TURN_STATE]) ?? text(fields(body?.client_metadata)?.[TURN_STATE])
    return Object.fromEntries(state === undefined ? [] : [[TURN_STATE, state]])
  },
  withoutBound: (message, names) => {
    const body = fields(message) ?? {}
    const kept = Object.entries(fields(body.client_metadata) ?? {}).filter(([name]) => !names.includes(name))
    return { ...body, client_metadata: Object.fromEntries(kept) }
  },
  // The one error on which Codex connects again and resends its whole input without a word to the user.
  reconnect: {
    type: 'error',
    status: 400,
    error: {
      type: 'invalid_request_error',
      code: 'websocket_connection_limit_reached',
      message: 'Please open a new connection.',
    },
  },
  exhausted,
}

function quotaFromMessage(message: unknown): Quota | undefined {
  const body = fields(message)
  if (body?.type !== 'codex.rate_limits') return undefined
  const limits = fields(body.rate_limits)
  const now = Date.now()
  const windows = NAMES.flatMap((name) => {
    const window = fields(limits?.[name]) ?? {}
    const reset = resetAt(number(window.reset_at), number(window.reset_after_seconds), now)
    return quotaWindow(name, number(window.used_percent), number(window.window_minutes), reset)
  })
  return { windows, plan: text(body.plan_type), credits: creditsOf(fields(body.credits)) }
}

function creditsOf(credits: Fields | undefined): Quota['credits'] {
  if (typeof credits?.has_credits !== 'boolean') return undefined
  return {
    hasCredits: credits.has_credits,
    unlimited: credits.unlimited === true,
    balance: text(credits.balance),
  }
}

/** The same windows and credits that `wham/usage` tells, so that the client's two sources agree. */
function withPoolQuota(message: unknown, accounts: readonly PoolAccount[], now: number): unknown {
  const body = fields(message)
  if (body?.type !== 'codex.rate_limits') return message
  const able = members(accounts)
  const [primary = null, secondary = null] = poolWindows(able, now)
  const credits = fields(poolCredits(able)) ?? null
  return { ...body, rate_limits: { primary: inMinutes(primary), secondary: inMinutes(secondary) }, credits }
}

function inMinutes(window: UsageWindow | null): object | null {
  if (window === null) return null
  const { used_percent, limit_window_seconds, reset_at } = window
  return { used_percent, window_minutes: Math.round(limit_window_seconds / 60), reset_at }
}

function exhausted({ resetsAt, plan }: Exhaustion): object {
  const error = {
    type: 'usage_limit_reached',
    message: 'Every account of the pool has reached its usage limit.',
    ...(plan === undefined ? {} : { plan_type: plan }),
    ...(resetsAt === undefined ? {} : { resets_at: Math.ceil(resetsAt / 1000) }),
  }
  return { type: 'error', status: 429, error }
}
