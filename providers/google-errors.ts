import { durationMs } from './duration.js'
import { fields, number, objects, text, type Fields } from './json.js'

/** What Google's APIs tell with a refusal (google.rpc.Status and its details). */
export interface GoogleError {
  readonly code: number | undefined
  readonly message: string
  /** `ErrorInfo.reason`, such as `QUOTA_EXHAUSTED`. */
  readonly reason: string | undefined
  readonly metadata: Fields
  /** `RetryInfo.retryDelay`; ms. */
  readonly retryDelayMs: number | undefined
  /** `QuotaFailure` and the older `quota_limit`: names such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. */
  readonly quotaIds: readonly string[]
  /** The first address of `Help`. */
  readonly link: string | undefined
}

/** Reads `{"error":{…}}`, the list `[{"error":{…}}]` that streams answer with, or an error event of a stream. */
export function googleError(payload: unknown): GoogleError | undefined {
  const error = fields(fields(Array.isArray(payload) ? payload[0] : payload)?.error)
  if (!error) return undefined
  const details = objects(error.details)
  const detail = (type: string) => details.find((it) => text(it['@type'])?.endsWith(`google.rpc.${type}`))
  const info = detail('ErrorInfo')
  const metadata = fields(info?.metadata) ?? {}
  return {
    code: number(error.code),
    message: text(error.message) ?? '',
    reason: text(info?.reason),
    metadata,
    retryDelayMs: durationMs(detail('RetryInfo')?.retryDelay),
    quotaIds: [
      ...objects(detail('QuotaFailure')?.violations).flatMap(({ quotaId }) => text(quotaId) ?? []),
      ...(text(metadata.quota_limit)?.split(',') ?? []),
    ],
    link: text(objects(detail('Help')?.links)[0]?.url),
  }
}
