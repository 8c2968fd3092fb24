import type { Answer, PoolAccount, Provider, QuotaWindow } from '../../config/provider.js'
import { type Fields, number, objects, text, time } from '../json.js'
import type { ResolvedGeminiSettings } from './credentials.js'
import { codeAssist } from './discover.js'
import { methodOf, POOL_PROJECT, projectOf } from './requests.js'

/** Answers in the pool's name: the set-up calls, and the quota of all accounts. */
export const answer: NonNullable<Provider['answer']> = function answer(request, { accounts, now }) {
  const able = accounts.filter(({ state }) => state !== 'needs-login' && state !== 'disabled')
  // Without an account the generation that follows would fail: an account is asked, and the failure names the way out.
  if (request.method !== 'POST' || able.length === 0) return undefined
  switch (methodOf(request)) {
    case 'loadCodeAssist':
      return { status: 200, body: loaded }
    case 'onboardUser':
      return { status: 200, body: onboarded }
    case 'retrieveUserQuota':
      return poolQuota(able, now)
  }
  return undefined
}

/** The client uses this project in later requests, even if its own settings name another one. */
const loaded = {
  currentTier: { id: 'standard-tier', name: 'codex-pool' },
  cloudaicompanionProject: POOL_PROJECT,
}

/** The gateway sets up its accounts itself, so a client's set-up is over at once. */
const onboarded = {
  name: 'operations/codex-pool',
  done: true,
  response: { cloudaicompanionProject: { id: POOL_PROJECT, name: POOL_PROJECT } },
}

interface ModelQuota {
  readonly model: string
  readonly used: number
  readonly resetsAt: number | undefined
}

/**
 * The mean of what is left on the accounts that know it, and the first reset. The client offers a preview model only
 * if it finds it here, so a model that one account knows is told. If nothing is known, an account is asked.
 */
function poolQuota(accounts: readonly PoolAccount[], now: number): Answer | undefined {
  const windows = accounts.flatMap(({ quota }) => quota.windows)
  const byModel = new Map<string, ModelQuota[]>()
  for (const known of windows.flatMap((window) => modelQuota(window, now)))
    byModel.set(known.model, [...(byModel.get(known.model) ?? []), known])
  if (byModel.size === 0) return undefined
  const buckets = [...byModel].map(([modelId, known]) => {
    const used = known.reduce((sum, one) => sum + one.used, 0) / known.length
    const resets = known.flatMap(({ resetsAt }) => resetsAt ?? [])
    const resetTime = resets.length > 0 ? new Date(Math.min(...resets)).toISOString() : undefined
    return { modelId, tokenType: 'REQUESTS', remainingFraction: 1 - used / 100, resetTime }
  })
  return { status: 200, headers: { 'cache-control': 'no-store' }, body: { buckets } }
}

function modelQuota({ name, model, usedPercent, resetsAt }: QuotaWindow, now: number): ModelQuota[] {
  const ended = resetsAt !== undefined && resetsAt <= now
  return model !== name || usedPercent === undefined || ended ? [] : [{ model, used: usedPercent, resetsAt }]
}

/** Asks `retrieveUserQuota`, which has one bucket per model. */
export function pollQuota({ upstream }: ResolvedGeminiSettings): NonNullable<Provider['pollQuota']> {
  return async function pollQuota(account, context) {
    const project = projectOf(account)
    if (project === undefined) return undefined
    const answer = await codeAssist(upstream, account.credential, context)(':retrieveUserQuota', { project })
    return { windows: objects(answer.buckets).flatMap(windowOf) }
  }
}

function windowOf({ modelId, tokenType, remainingFraction, resetTime }: Fields): QuotaWindow[] {
  const model = text(modelId)
  if (model === undefined) return []
  const kind = text(tokenType) ?? 'REQUESTS'
  const left = number(remainingFraction)
  return [
    {
      name: kind === 'REQUESTS' ? model : `${model} ${kind}`,
      model,
      usedPercent: left === undefined ? undefined : Math.min(100, Math.max(0, (1 - left) * 100)),
      resetsAt: time(resetTime),
    },
  ]
}
