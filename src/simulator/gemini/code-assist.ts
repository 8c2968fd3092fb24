import { field, text } from '../json.js'
import { bearer, type SimRequest } from '../request.js'
import { type Answer, json, type Upstream, type World } from '../upstream.js'
import type { GeminiAccount } from './account.js'
import {
  asList,
  foreignProject,
  invalidArgument,
  notFoundEntity,
  quotaExhausted,
  unauthenticated,
} from './refusals.js'
import { generate, googleStream, hasForeignThought, promptTokens, whole } from './generation.js'

const METHOD = '/v1internal:'

/** `https://cloudcode-pa.googleapis.com`: a token opens its own account with its own project and no other. */
export function createCodeAssist(accounts: readonly GeminiAccount[], world: World): Upstream {
  const holder = (request: SimRequest) =>
    accounts.find((account) => account.stateOf(bearer(request)) !== undefined)
  const serve = (request: SimRequest): Answer => {
    const account = holder(request)
    if (!account) return unauthenticated('ACCESS_TOKEN_TYPE_UNSUPPORTED')
    if (account.stateOf(bearer(request)) === 'expired') return unauthenticated('ACCESS_TOKEN_EXPIRED')
    const method = METHODS[`${request.method} ${request.path.slice(METHOD.length)}`]
    return foreign(request, account) ?? method?.(request, account, world) ?? notFoundEntity
  }
  return {
    kind: 'gemini',
    owns: ({ path }) => path.startsWith(METHOD),
    account: (request) => holder(request)?.id,
    answer(request) {
      const answer = serve(request)
      const streams = request.path.endsWith(':streamGenerateContent')
      return streams && answer.status !== 200 ? asList(answer) : answer
    },
  }
}

/** Every place in which a body may name a project. */
const PROJECTS = [['project'], ['cloudaicompanionProject'], ['metadata', 'duetProject']]

function foreign({ json: body }: SimRequest, account: GeminiAccount): Answer | undefined {
  const named = PROJECTS.map((path) => text(body, ...path)).find(
    (name) => name !== undefined && name !== account.project,
  )
  return named === undefined ? undefined : foreignProject(named)
}

const METHODS: Record<string, (request: SimRequest, account: GeminiAccount, world: World) => Answer> = {
  'POST loadCodeAssist': (_request, account) => loadCodeAssist(account),
  'POST retrieveUserQuota': (_request, account) => json(200, { buckets: quotaBuckets(account) }),
  'POST listExperiments': () => json(200, { experimentIds: [], flags: [] }),
  'POST fetchAdminControls': () => json(200, { adminControlsApplicable: false }),
  'POST countTokens': ({ json: body }) => json(200, { totalTokens: promptTokens(field(body, 'request')) }),
  'POST generateContent': (request, account, world) => {
    const events = eventsOf(request, account, world)
    if (!Array.isArray(events)) return events
    return json(200, { response: whole(events), traceId: newTraceId(account) })
  },
  'POST streamGenerateContent': (request, account, world) => {
    const events = eventsOf(request, account, world)
    if (!Array.isArray(events)) return events
    const traceId = newTraceId(account)
    const wrapped = events.map((response) => ({ response, traceId }))
    return googleStream(request, wrapped, { 'x-cloudaicompanion-trace-id': traceId })
  },
}

function loadCodeAssist({ project: cloudaicompanionProject }: GeminiAccount): Answer {
  const currentTier = {
    id: 'standard-tier',
    name: 'Gemini Code Assist',
    userDefinedCloudaicompanionProject: true,
  }
  const allowedTiers = [{ ...currentTier, isDefault: true }]
  return json(200, { currentTier, allowedTiers, cloudaicompanionProject, gcpManaged: false })
}

const quotaBuckets = (account: GeminiAccount) =>
  [...account.buckets.keys()].map((modelId) => {
    const { remainingFraction, resetsAt } = account.bucket(modelId)!
    return {
      resetTime: new Date(resetsAt).toISOString(),
      tokenType: 'REQUESTS',
      modelId,
      remainingFraction,
    }
  })

let traces = 0

/** An id that names its account, so that a test can tell where it came from. Clients take it as opaque. */
const newTraceId = ({ id }: GeminiAccount): string => Buffer.from(`${(traces += 1)} ${id}`).toString('hex')

/** The events of a generation, without the wrapper of Code Assist, or a refusal. */
function eventsOf(request: SimRequest, account: GeminiAccount, world: World): object[] | Answer {
  const model = text(request.json, 'model')
  const inner = field(request.json, 'request')
  if (model === undefined || inner === undefined)
    return invalidArgument('Request contains an invalid argument.')
  if (text(request.json, 'project') === undefined) return invalidArgument('Project is required.')
  const bucket = account.bucket(model)
  if (!bucket) return notFoundEntity
  if (bucket.remainingFraction <= 0) return quotaExhausted(model, bucket.resetsAt - world.now(), world.now())
  if (world.strictHistory && hasForeignThought(inner, account.id))
    return invalidArgument('Corrupted thought signature.')
  bucket.remainingFraction = Math.max(0, bucket.remainingFraction - bucket.fractionPerRequest)
  return generate({ request, body: inner, model, by: account, world })
}
