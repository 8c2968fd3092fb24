import type { Answer, PoolAccount, Provider, QuotaWindow } from '../../config/provider.js'
import { methodOf } from './requests.js'
import { POOL_PROJECT } from './requests.js'

/** What the gateway answers in the pool's name. */
export const answer: NonNullable<Provider['answer']> = function answer(request, { accounts, now }) {
  const able = accounts.filter(({ state }) => state !== 'needs-login' && state !== 'disabled')
  // With nobody to serve what follows, the client had better hear why now: the failure names the way out.
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

/** The project here wins over the client's own setting for all that follows. */
const loaded = {
  currentTier: { id: 'standard-tier', name: 'codex-pool' },
  cloudaicompanionProject: POOL_PROJECT,
}

/** The gateway sets up its accounts itself; nobody is to be set up in the pool's name. */
const onboarded = {
  name: 'operations/codex-pool',
  done: true,
  response: { cloudaicompanionProject: { id: POOL_PROJECT, name: POOL_PROJECT } },
}

interface Known {
  readonly model: string
  readonly used: number
  readonly resetsAt: number | undefined
}

/**
 * The mean of what is left on the accounts that know it, and the first reset. The client offers a preview model only
 * if it finds it here, so a model that one account knows is told. Nothing known: an account is asked.
 */
function poolQuota(accounts: readonly PoolAccount[], now: number): Answer | undefined {
  const byModel = new Map<string, Known[]>()
  for (const known of accounts.flatMap(({ quota }) =>
    quota.windows.flatMap((window) => knownIn(window, now)),
  ))
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

function knownIn({ name, model, usedPercent, resetsAt }: QuotaWindow, now: number): Known[] {
  const ended = resetsAt !== undefined && resetsAt <= now
  return model !== name || usedPercent === undefined || ended ? [] : [{ model, used: usedPercent, resetsAt }]
}
