import { type Answer, json } from '../answer.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Upstream, World } from '../upstream.js'
import type { GeminiAccount } from './account.js'
import { createCodeAssistModels } from './code-assist-models.js'
import { asList, foreignProject, noLicense, notFoundEntity, unauthenticated } from './errors.js'
import { promptTokens } from './generation.js'
import { quotaBuckets, rollBuckets } from './quota.js'
import { loadCodeAssist, onboardUser, pollOperation } from './setup.js'
import { TraceIds } from './trace-ids.js'

const METHOD = '/v1internal:'
const OPERATION = '/v1internal/'

type Method = (request: SimRequest, account: GeminiAccount) => Answer

/** `https://cloudcode-pa.googleapis.com`: a token opens its own account with its own project and no other. */
export function createCodeAssist(accounts: readonly GeminiAccount[], world: World): Upstream {
  const holder = (request: SimRequest) =>
    accounts.find((account) => account.stateOf(bearer(request)) !== undefined)
  const methods = methodsOf(world)
  const serve = (request: SimRequest, account: GeminiAccount | undefined): Answer => {
    if (!account) return unauthenticated('ACCESS_TOKEN_TYPE_UNSUPPORTED')
    if (account.stateOf(bearer(request)) === 'expired') return unauthenticated('ACCESS_TOKEN_EXPIRED')
    return foreign(request, account) ?? methods(request, account)
  }
  return {
    kind: 'gemini',
    owns: (path) => path.startsWith(METHOD) || path.startsWith(OPERATION),
    account: (request) => holder(request)?.id,
    answer(request) {
      const answer = serve(request, holder(request))
      const streams = request.path.endsWith(':streamGenerateContent')
      return streams && answer.status !== 200 ? asList(answer) : answer
    },
  }
}

function bearer(request: SimRequest): string {
  return /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
}

/** Every place in which a body may name a project. */
const PROJECTS = [['project'], ['cloudaicompanionProject'], ['metadata', 'duetProject']]

function foreign({ json: body }: SimRequest, account: GeminiAccount): Answer | undefined {
  const named = PROJECTS.map((path) => text(body, ...path)).find(
    (name) => name !== undefined && name !== account.project,
  )
  return named === undefined ? undefined : foreignProject(named)
}

function methodsOf(world: World): Method {
  const traces = new TraceIds(world)
  const { generateContent, streamGenerateContent } = createCodeAssistModels(traces, world)
  const methods: Record<string, Method> = {
    'POST loadCodeAssist': (_request, account) => loadCodeAssist(account),
    'POST onboardUser': (request, account) => onboardUser(account, request.json),
    'POST retrieveUserQuota': (_request, account) => userQuota(account, world.now()),
    'POST listExperiments': () => json(200, { experimentIds: [], flags: [] }),
    'POST fetchAdminControls': () => json(200, { adminControlsApplicable: false }),
    'POST countTokens': ({ json: body }) => json(200, { totalTokens: promptTokens(field(body, 'request')) }),
    'POST recordCodeAssistMetrics': (request, account) => metrics(request, account, traces),
    'GET getCodeAssistGlobalUserSetting': (_request, account) => userSetting(account),
    'POST setCodeAssistGlobalUserSetting': (request, account) => setUserSetting(request, account),
    'POST generateContent': licensed(generateContent),
    'POST streamGenerateContent': licensed(streamGenerateContent),
  }
  return (request, account) => {
    if (request.path.startsWith(OPERATION))
      return pollOperation(account, request.path.slice(OPERATION.length))
    const method = methods[`${request.method} ${request.path.slice(METHOD.length)}`]
    return method ? method(request, account) : notFoundEntity
  }
}

/** What only accounts in good standing may do. */
function licensed(method: Method): Method {
  return (request, account) => {
    const barred = account.tier === 'retired' || account.tier === 'unverified' || !account.onboarded
    return barred ? noLicense : method(request, account)
  }
}

function userQuota(account: GeminiAccount, now: number): Answer {
  rollBuckets(account.buckets, now)
  return json(200, { buckets: quotaBuckets(account.buckets) })
}

/** The client names the stream that it judges by the trace id that came with it. */
function metrics(request: SimRequest, account: GeminiAccount, traces: TraceIds): Answer {
  for (const metric of list(request.json, 'metrics')) {
    traces.check(request, text(metric, 'conversationOffered', 'traceId'), account.id)
    traces.check(request, text(metric, 'conversationInteraction', 'traceId'), account.id)
  }
  return json(200, {})
}

function userSetting(account: GeminiAccount): Answer {
  const { project, dataCollection } = account
  return json(200, { cloudaicompanionProject: project, freeTierDataCollectionOptin: dataCollection })
}

function setUserSetting(request: SimRequest, account: GeminiAccount): Answer {
  account.dataCollection = field(request.json, 'freeTierDataCollectionOptin') === true
  return userSetting(account)
}
