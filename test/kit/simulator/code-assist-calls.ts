import {
  type Answer,
  field,
  type GeminiAccount,
  list,
  type Simulator,
  type SimRequest,
  text,
  type Upstream,
} from '../../../src/simulator/index.js'
import { json } from './authorization.js'

const METHOD = /^\/v1internal:(recordCodeAssistMetrics|[gs]etCodeAssistGlobalUserSetting)$/

/**
 * The settings and the metrics of Code Assist, for `startSimulator({ upstreams })`. Metrics that name the stream of
 * another account are a violation.
 */
export function codeAssistCalls(sim: Simulator): Upstream[] {
  /** Accounts whose prompts Google may not learn from. */
  const optedOut = new Set<GeminiAccount>()
  const holder = ({ headers }: SimRequest) =>
    sim.gemini.accounts.find(
      (it) => it.stateOf(headers.authorization?.replace('Bearer ', '') ?? '') === 'valid',
    )
  const setting = (account: GeminiAccount): Answer =>
    json(200, {
      cloudaicompanionProject: account.project,
      freeTierDataCollectionOptin: !optedOut.has(account),
    })
  return [
    {
      kind: 'gemini',
      owns: (request) => METHOD.test(request.path) && holder(request) !== undefined,
      account: (request) => holder(request)?.id,
      answer(request) {
        const account = holder(request)!
        if (request.path.endsWith('Metrics')) return recordMetrics(request, account, sim)
        if (field(request.json, 'freeTierDataCollectionOptin') === false) optedOut.add(account)
        return setting(account)
      },
    },
  ]
}

/** The client names the stream that it judges by the trace id that came with it. */
function recordMetrics(request: SimRequest, { id }: GeminiAccount, { violations }: Simulator): Answer {
  for (const metric of list(request.json, 'metrics')) {
    const named =
      text(metric, 'conversationOffered', 'traceId') ?? text(metric, 'conversationInteraction', 'traceId')
    if (named === undefined) continue
    const [, owner = 'nobody'] = /^\d+ (.+)$/.exec(Buffer.from(named, 'hex').toString()) ?? []
    if (owner !== id) violations.push(`${request.method} ${request.path}: traceId of ${owner} sent for ${id}`)
  }
  return json(200, {})
}
