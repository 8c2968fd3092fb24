import { type Answer, json } from '../answer.js'
import type { SimRequest } from '../request.js'
import type { Asked, Consents } from './consents.js'
import { decisionOf, loginPage } from './page.js'

export interface AuthorizePage<Account> {
  readonly accounts: readonly Account[]
  readonly consents: Consents<Account>
  /** What is wrong with a client's request; the person then never sees the page. */
  readonly fault: (query: URLSearchParams) => string | undefined
  /** More that the browser carries back. */
  readonly extra?: Readonly<Record<string, string>>
}

/** An authorization page (RFC 6749 §4.1.1): shown on GET, answered by POST with `account` and `decision`. */
export function authorizePage<Account extends { id: string }>(
  request: SimRequest,
  { accounts, consents, fault, extra }: AuthorizePage<Account>,
): Answer {
  const { query } = request
  const wrong = commonFault(query) ?? fault(query)
  // Never back to the client: a redirect address that is not known must not be followed.
  if (wrong !== undefined) return json(400, { error: 'invalid_request', error_description: wrong })
  if (request.method !== 'POST') return loginPage(accounts.map(({ id }) => id))
  const { account, agrees } = decisionOf(request, accounts)
  if (!account) return json(400, { error: 'invalid_request', error_description: 'unknown account' })
  const result: Record<string, string> = agrees
    ? { code: consents.give(account, askedBy(query)), ...extra }
    : { error: 'access_denied' }
  return sendBack(query, { state: query.get('state')!, scope: query.get('scope') ?? '', ...result })
}

function commonFault(query: URLSearchParams): string | undefined {
  if (query.get('response_type') !== 'code') return 'response_type must be code'
  if ((query.get('state') ?? '').length < 16) return 'state is missing or too short'
  if (query.get('code_challenge_method') !== 'S256') return 'code_challenge_method must be S256'
  if (!/^[\w-]{43}$/.test(query.get('code_challenge') ?? '')) return 'code_challenge is no S256 value'
  return undefined
}

function askedBy(query: URLSearchParams): Asked {
  return {
    clientId: query.get('client_id') ?? '',
    redirectUri: query.get('redirect_uri') ?? '',
    challenge: query.get('code_challenge') ?? '',
  }
}

function sendBack(query: URLSearchParams, parameters: Record<string, string>): Answer {
  const location = new URL(query.get('redirect_uri')!)
  for (const [name, value] of Object.entries(parameters)) location.searchParams.set(name, value)
  return { status: 302, headers: { location: location.href } }
}
