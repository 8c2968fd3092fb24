import type { Provider, Quota, QuotaWindow } from '../../config/provider.js'
import { fields, number, objects, text } from '../json.js'
import { codeAssist } from './discover.js'
import type { ResolvedGeminiSettings } from './credentials.js'

/** Asks `retrieveUserQuota`, which knows one bucket per model. */
export function pollQuota({ upstream }: ResolvedGeminiSettings): NonNullable<Provider['pollQuota']> {
  return async function pollQuota({ credential, facts }, context) {
    const { project } = facts
    if (project === undefined) return undefined
    return quotaFromBuckets(
      await codeAssist(upstream, credential, context)(':retrieveUserQuota', { project }),
    )
  }
}

export function quotaFromBuckets(payload: unknown): Quota {
  const windows = objects(fields(payload)?.buckets).flatMap((bucket): QuotaWindow[] => {
    const { modelId, tokenType, remainingFraction, resetTime } = bucket
    const model = text(modelId)
    if (model === undefined) return []
    const kind = text(tokenType) ?? 'REQUESTS'
    const left = number(remainingFraction)
    const at = Date.parse(text(resetTime) ?? '')
    return [
      {
        name: kind === 'REQUESTS' ? model : `${model} ${kind}`,
        model,
        usedPercent: left === undefined ? undefined : Math.min(100, Math.max(0, (1 - left) * 100)),
        resetsAt: Number.isNaN(at) ? undefined : at,
      },
    ]
  })
  return { windows }
}
