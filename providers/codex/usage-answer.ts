import type { Answer, ClientRequest, PoolAccount } from '../../config/provider.js'
import { header } from '../header.js'
import { fields, text } from '../json.js'
import { jwtClaims } from '../jwt.js'
import { members, poolCredits, poolWindows } from './pool-usage.js'

/** `wham/usage` for the whole pool: real windows and resets only, under the caller's own names. */
export function usageAnswer(request: ClientRequest, accounts: readonly PoolAccount[], now: number): Answer {
  const able = members(accounts)
  const [primary, secondary] = poolWindows(able, now)
  const spent = able.length > 0 && able.every(({ state }) => state === 'exhausted')
  const known = primary !== null || spent
  const body = {
    ...callerOf(request, able),
    rate_limit: known ? limit(spent, primary, secondary) : null,
    code_review_rate_limit: null,
    additional_rate_limits: null,
    credits: poolCredits(able),
  }
  return { status: 200, headers: { 'cache-control': 'no-store' }, body }
}

function limit(spent: boolean, primary: unknown, secondary: unknown): object {
  return { allowed: !spent, limit_reached: spent, primary_window: primary, secondary_window: secondary }
}

/** Who asks, by the caller's own headers: never anything of a pool account but a plan that all of them share. */
function callerOf({ headers }: ClientRequest, accounts: readonly PoolAccount[]): object {
  const claims = jwtClaims(header(headers, 'authorization')?.replace(/^bearer /i, ''))
  const auth = fields(claims?.['https://api.openai.com/auth'])
  const plans = new Set(accounts.flatMap(({ quota, inspection }) => quota.plan ?? inspection.plan ?? []))
  const shared = plans.size === 1 ? [...plans][0] : undefined
  return {
    user_id: text(auth?.chatgpt_user_id) ?? null,
    account_id: header(headers, 'chatgpt-account-id') ?? null,
    email: text(claims?.email) ?? text(fields(claims?.['https://api.openai.com/profile'])?.email) ?? null,
    plan_type: text(auth?.chatgpt_plan_type) ?? shared ?? 'unknown',
  }
}
