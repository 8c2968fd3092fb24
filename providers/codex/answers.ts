import type { Answer, ClientRequest, PoolAccount, Provider } from '../../config/provider.js'
import { header } from '../header.js'
import { openAiFailure } from '../openai-errors.js'
import { placeOf, type Place } from './paths.js'
import type { Settings } from './settings.js'
import { usageAnswer } from './usage-answer.js'

/** What Codex itself asks of the ChatGPT backend: the model API is an area of its own. */
const FAMILIES = ['wham', 'ps']

/** What the gateway answers in the pool's name, and what it lets nobody reach. */
export function answer({ allow }: Settings): NonNullable<Provider['answer']> {
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
