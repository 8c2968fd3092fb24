import { createHash, randomBytes } from 'node:crypto'
import type { Answer, SimRequest } from '../../../src/simulator/index.js'

export const json = (status: number, body: unknown, headers = {}): Answer => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body,
})

/** The parameters of a client's request for a login. */
export interface Asked {
  readonly clientId: string
  readonly redirectUri: string
  /** PKCE's, S256. */
  readonly challenge: string
}

/** ms; RFC 6749 §4.1.2 recommends no more. */
const LIFETIME_MS = 10 * 60_000

/** The authorization codes that stand for a person's consent. Each works once, for its client, and not for long. */
export class Consents<Account> {
  readonly #given = new Map<string, { account: Account; asked: Asked; expiresAt: number }>()

  constructor(private readonly now: () => number) {}

  /** The code. */
  give(account: Account, asked: Asked): string {
    const code = `ac_sim_${randomBytes(18).toString('base64url')}`
    this.#given.set(code, { account, asked, expiresAt: this.now() + LIFETIME_MS })
    return code
  }

  /** The account of the code in a token request; `undefined` if the request differs from the one that was asked. */
  redeem(form: URLSearchParams): Account | undefined {
    const code = form.get('code') ?? ''
    const consent = this.#given.get(code)
    // A request that is wrong in something else spends the code too.
    this.#given.delete(code)
    if (!consent || this.now() >= consent.expiresAt) return undefined
    const { clientId, redirectUri, challenge } = consent.asked
    if (form.get('client_id') !== clientId || form.get('redirect_uri') !== redirectUri) return undefined
    return challengeOf(form.get('code_verifier') ?? '') === challenge ? consent.account : undefined
  }
}

/** S256 of a verifier (RFC 7636 §4.2); a malformed verifier gives a text that no challenge equals. */
export function challengeOf(verifier: string): string {
  if (!/^[\w.~-]{43,128}$/.test(verifier)) return 'malformed'
  return createHash('sha256').update(verifier).digest('base64url')
}

export interface AuthorizationPage<Account> {
  readonly accounts: readonly Account[]
  readonly consents: Consents<Account>
  /** The mistake in a client's request, if it has one; the person then never sees the page. */
  readonly mistake: (query: URLSearchParams) => string | undefined
  /** More parameters of the address that the browser is sent to. */
  readonly extra?: Readonly<Record<string, string>>
}

/** An authorization page (RFC 6749 §4.1.1): shown on GET, answered by POST with `account` and `decision`. */
export function authorizationPage<Account extends { id: string }>(
  request: SimRequest,
  { accounts, consents, mistake, extra }: AuthorizationPage<Account>,
): Answer {
  const { query } = request
  const wrong = commonMistake(query) ?? mistake(query)
  // Without a redirect: the address of an unknown client must not be followed.
  if (wrong !== undefined) return json(400, { error: 'invalid_request', error_description: wrong })
  if (request.method !== 'POST') return loginPage(accounts)
  const { account, agrees } = decisionOf(request, accounts)
  if (!account) return json(400, { error: 'invalid_request', error_description: 'unknown account' })
  const result: Record<string, string> = agrees
    ? { code: consents.give(account, askedBy(query)), ...extra }
    : { error: 'access_denied' }
  const location = new URL(query.get('redirect_uri')!)
  const parameters = { state: query.get('state')!, scope: query.get('scope') ?? '', ...result }
  for (const [name, value] of Object.entries(parameters)) location.searchParams.set(name, value)
  return { status: 302, headers: { location: location.href } }
}

function commonMistake(query: URLSearchParams): string | undefined {
  if (query.get('response_type') !== 'code') return 'response_type must be code'
  if ((query.get('state') ?? '').length < 16) return 'state is missing or too short'
  if (query.get('code_challenge_method') !== 'S256') return 'code_challenge_method must be S256'
  if (!/^[\w-]{43}$/.test(query.get('code_challenge') ?? '')) return 'code_challenge is no S256 value'
  return undefined
}

const askedBy = (query: URLSearchParams): Asked => ({
  clientId: query.get('client_id') ?? '',
  redirectUri: query.get('redirect_uri') ?? '',
  challenge: query.get('code_challenge') ?? '',
})

/** A page on which a person decides, as one of the simulator's accounts. `field` asks for one more thing. */
export function loginPage(accounts: readonly { id: string }[], field = ''): Answer {
  const options = accounts.map(({ id }) => `<option>${id}</option>`).join('')
  const body =
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated login</title><form method="post">` +
    `${field}<select name="account">${options}</select>` +
    `<button name="decision" value="agree">Agree</button><button name="decision" value="refuse">Refuse</button></form>`
  return { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body }
}

/** The person's decision on a login page. */
export function decisionOf<Account extends { id: string }>(
  request: SimRequest,
  accounts: readonly Account[],
): { account: Account | undefined; agrees: boolean; form: URLSearchParams } {
  const form = formOf(request)
  const account = accounts.find(({ id }) => id === form.get('account'))
  return { account, agrees: form.get('decision') === 'agree', form }
}

/** A form, if the request says that it is one; else it is empty. */
export function formOf({ headers, body }: SimRequest): URLSearchParams {
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded')
  return new URLSearchParams(isForm ? body.toString('utf8') : '')
}
