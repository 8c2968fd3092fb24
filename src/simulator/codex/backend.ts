import { type Answer, json, notFound } from '../answer.js'
import type { SimRequest } from '../request.js'
import type { Dialogue, Upstream, World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { expired, foreignAccount, missingToken, unknownToken } from './errors.js'
import { models } from './models.js'
import { createResponses } from './responses.js'
import { createResponsesSocket } from './responses-socket.js'
import { TurnStates } from './turn-state.js'
import { wham } from './wham.js'

const ROOT = '/backend-api/'
const CODEX = '/backend-api/codex/'

/** `https://chatgpt.com/backend-api`: the models under `codex/`, everything about the account beside it. */
export function createBackend(accounts: readonly CodexAccount[], world: World): Upstream[] {
  const holder = (request: SimRequest) =>
    accounts.find((account) => account.stateOf(bearer(request)) !== undefined)
  const serve = <T>(request: SimRequest, give: Give<T>): Answer | T => {
    const account = holder(request)
    return refusal(request, account) ?? (account ? give(request, account) : unknownToken)
  }
  const turnStates = new TurnStates(world)
  const responses = createResponses(turnStates, world)
  const socket = createResponsesSocket(turnStates, world)
  const account = (request: SimRequest) => holder(request)?.id
  return [
    {
      kind: 'codex',
      owns: (path) => path.startsWith(CODEX),
      account,
      answer: (request) => serve(request, codexPaths(responses)),
      upgrade: (request) =>
        request.path === `${CODEX}responses` ? serve<Answer | Dialogue>(request, socket) : notFound,
    },
    {
      kind: 'wham',
      owns: (path) => path.startsWith(ROOT),
      account,
      answer: (request) => serve(request, (_, account) => wham(request, account, world)),
    },
  ]
}

type Give<T> = (request: SimRequest, account: CodexAccount) => T

/** Why a caller is not let in. A token opens its own account and no other. */
function refusal(request: SimRequest, account: CodexAccount | undefined): Answer | undefined {
  if (!bearer(request)) return missingToken
  const state = account?.stateOf(bearer(request))
  if (!account || state === undefined) return unknownToken
  if (state === 'expired') return expired
  if (state === 'revoked') return unknownToken
  return request.headers['chatgpt-account-id'] === account.accountId ? undefined : foreignAccount
}

function bearer(request: SimRequest): string {
  return /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
}

function codexPaths(responses: Give<Answer>): Give<Answer> {
  return function serve(request, account) {
    const route = `${request.method} ${request.path.slice(CODEX.length)}`
    if (route === 'POST responses') return responses(request, account)
    if (route === 'GET models') return models(account.models)
    if (route === 'POST alpha/search') return json(200, { output: 'No results: this is a simulator.' })
    if (route === 'POST images/generations') return json(200, { created: 0, data: [{ b64_json: PIXEL }] })
    if (route === 'POST analytics-events/events') return json(200, { status: 'ok' })
    return notFound
  }
}

/** A PNG of one transparent pixel. */
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
