import { type Answer, eventStream, json } from '../answer.js'
import { field, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import type { GeminiAccount } from './account.js'
import { invalidArgument, notFoundEntity, quotaExhausted } from './errors.js'
import { generate, hasForeignThought, sseFrame, whole } from './generation.js'
import { rollBuckets, spendBucket } from './quota.js'
import type { TraceIds } from './trace-ids.js'

/** The two generating methods of Code Assist, which wrap request and response. */
export function createCodeAssistModels(traces: TraceIds, world: World) {
  return {
    generateContent(request: SimRequest, account: GeminiAccount): Answer {
      const events = eventsOf(request, account)
      if (!Array.isArray(events)) return events
      return json(200, { response: whole(events), traceId: traces.issue(account.id) })
    },

    streamGenerateContent(request: SimRequest, account: GeminiAccount): Answer {
      const events = eventsOf(request, account)
      if (!Array.isArray(events)) return events
      const traceId = traces.issue(account.id)
      const wrapped = events.map((response) => ({ response, traceId }))
      if (request.query.get('alt') !== 'sse') return json(200, wrapped)
      return eventStream({ events: wrapped, frame: sseFrame }, { 'x-cloudaicompanion-trace-id': traceId })
    },
  }

  function eventsOf(request: SimRequest, account: GeminiAccount): object[] | Answer {
    const model = text(request.json, 'model')
    const inner = field(request.json, 'request')
    if (model === undefined || inner === undefined)
      return invalidArgument('Request contains an invalid argument.')
    if (text(request.json, 'project') === undefined) return invalidArgument('Project is required.')
    const bucket = account.buckets.get(model)
    if (!bucket) return notFoundEntity
    rollBuckets(account.buckets, world.now())
    if (bucket.remainingFraction <= 0)
      return quotaExhausted(model, bucket.resetsAt - world.now(), world.now())
    if (world.strictHistory && hasForeignThought(inner, account.id)) {
      return invalidArgument('Corrupted thought signature.')
    }
    spendBucket(bucket)
    return generate(request, inner, model, account, world)
  }
}
