/** The quota of one model. All fields may be changed at any time. */
export interface GeminiBucket {
  /** 1 to 0. */
  remainingFraction: number
  /** ms since 1970; when it passes, the bucket is full again. */
  resetsAt: number
  /** What one request uses up. */
  fractionPerRequest: number
}

/** Those that the Gemini CLI asks for, and some that it only lists. */
export const MODELS: readonly string[] = [
  'gemini-2.5-pro',
  'gemini-2.5-flash',
  'gemini-2.5-flash-lite',
  'gemini-3-flash',
  'gemini-3-flash-preview',
  'gemini-3-pro-preview',
  'gemini-3.1-pro-preview',
  'gemini-3.1-pro-preview-customtools',
  'gemini-3.1-flash-lite',
  'gemini-3.5-flash',
  'gemini-3.5-flash-lite',
  'gemini-3.8-flash',
]

const DAY_MS = 86_400_000

export function openBuckets(models = MODELS, now: number): Map<string, GeminiBucket> {
  const bucket = () => ({ remainingFraction: 1, resetsAt: now + DAY_MS, fractionPerRequest: 0.01 })
  return new Map(models.map((model) => [model, bucket()]))
}

/** Fills buckets whose time has passed. */
export function rollBuckets(buckets: Map<string, GeminiBucket>, now: number): void {
  for (const bucket of buckets.values()) {
    if (now < bucket.resetsAt) continue
    bucket.remainingFraction = 1
    bucket.resetsAt = now + DAY_MS
  }
}

export function spendBucket(bucket: GeminiBucket): void {
  bucket.remainingFraction = Math.max(0, bucket.remainingFraction - bucket.fractionPerRequest)
}

/** As `retrieveUserQuota` shows them. */
export function quotaBuckets(buckets: Map<string, GeminiBucket>) {
  return [...buckets].map(([modelId, { remainingFraction, resetsAt }]) => ({
    resetTime: new Date(resetsAt).toISOString(),
    tokenType: 'REQUESTS',
    modelId,
    remainingFraction,
  }))
}
