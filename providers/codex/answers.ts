import type { Answer, ClientRequest, PoolAccount, Provider } from '../../config/provider.js'
import { openAiFailure } from '../openai.js'
import { header } from '../http.js'
import { fields, objects } from '../json.js'
import type { ResolvedCodexSettings } from './credentials.js'
import { usageAnswer } from './pool-quota.js'
import { type Place, placeOf } from './requests.js'

/** What Codex itself asks of the ChatGPT backend: the model API is an area of its own. */
const FAMILIES = ['wham', 'ps']

/** What the gateway answers in the pool's name, and what it lets nobody reach. */
export function answer({ allow }: ResolvedCodexSettings): NonNullable<Provider['answer']> {
  const families = [...FAMILIES, ...allow.map((family) => family.replace(/^\/+|\/+$/g, ''))]
  return function answer(request, { accounts, now }) {
    if (request.path === '/oauth/token' && request.method === 'POST') return keepYourLogin
    const place = placeOf(request.path)
    return place.area === 'responses'
      ? responsesAnswer(request, place)
      : backendAnswer(request, place, families, accounts, now)
  }
}

function responsesAnswer({ method }: ClientRequest, { rest }: Place): Answer | undefined {
  // Taken and dropped: they would tell on one person under another's account.
  if (/^\/analytics-events(\/|$)/.test(rest)) return { status: 204 }
  if (rest !== '/responses') return undefined
  if (method === 'HEAD') return { status: 405, headers: { allow: 'POST' } }
  return method === 'GET' ? noWebSocket : undefined
}

function backendAnswer(
  request: ClientRequest,
  { rest }: Place,
  families: readonly string[],
  accounts: readonly PoolAccount[],
  now: number,
): Answer | undefined {
  const reads = request.method === 'GET' || request.method === 'HEAD'
  if (reads && rest === '/wham/accounts/check') return accountsCheck(request)
  if (reads && rest === '/wham/usage') return usageAnswer(request, accounts, now)
  const passes = families.some((family) => rest === `/${family}` || rest.startsWith(`/${family}/`))
  return passes ? undefined : foreignFamily(rest)
}

/** Without an entry of the caller's own account id Codex does not start; a pool account's would send it elsewhere. */
function accountsCheck({ headers }: ClientRequest): Answer {
  const id = header(headers, 'chatgpt-account-id')
  const routing = {
    workspace_backend_origin: 'https://chatgpt.com',
    account_routing_override: 'NO_CONSTRAINT',
  }
  return { status: 200, body: { accounts: id === undefined ? [] : [{ id, ...routing }] } }
}

/** Every field of a token answer is optional to Codex: with none it goes on with the login that it has. */
const keepYourLogin: Answer = { status: 200, headers: { 'cache-control': 'no-store' }, body: {} }

const noWebSocket = openAiFailure({
  status: 426,
  code: 'websocket_not_served',
  message: 'WebSockets are not served here: send POST /responses.',
})

function foreignFamily(rest: string): Answer {
  const family = /^\/([\w.-]{1,40})/.exec(rest)?.[1]
  const message =
    family === undefined
      ? 'This path is not one that Codex uses, so it is not passed on to an account.'
      : `/backend-api/${family} is not one of the paths that Codex uses, so it is not passed on to an account. ` +
        `To allow it, add '${family}/' to providers.codex.allow.`
  return openAiFailure({ status: 403, code: 'path_not_allowed', message })
}

/** `GET /models`: what one account of the pool may use, the pool may use. */
export const mergeModels: NonNullable<Provider['merge']> = ({ method, path }) => {
  const { area, rest } = placeOf(path)
  return method === 'GET' && area === 'responses' && rest === '/models' ? union : undefined
}

/**
 * The longest list in its order, and behind it what only others have. API keys list models in another form, which says
 * nothing to Codex. An empty list stands for the one that Codex came with, and so for everything.
 */
function union(answers: readonly unknown[]): unknown {
  const lists = answers.flatMap((answer) => {
    const catalogue = fields(answer)
    return Array.isArray(catalogue?.models) ? [{ ...catalogue, models: objects(catalogue.models) }] : []
  })
  const [longest, ...others] = lists.sort((a, b) => b.models.length - a.models.length)
  if (!longest || others.at(-1)?.models.length === 0) return others.at(-1) ?? longest
  const bySlug = new Map(longest.models.map((model) => [model.slug, model]))
  for (const model of others.flatMap(({ models }) => models))
    if (!bySlug.has(model.slug)) bySlug.set(model.slug, model)
  return { ...longest, models: [...bySlug.values()] }
}
