import type { IncomingHttpHeaders } from 'node:http'
import { isLoopback, isRecord, messageOf, redact, rememberGiven } from '../config/index.js'
import type { Adaptation, Answer } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import type { Pool } from '../src/pool/pool.js'
import { Pins } from '../src/accounts/pins.js'
import type { Network } from '../src/network.js'
import type { Exchange } from './exchange.js'
import { GatewayFailure } from './failure.js'
import type { AttemptPlan, Body } from './forward.js'
import { forwardable } from './headers.js'

/** A request made ready for one account, or why this account cannot take it. */
export type Injected =
  | { readonly plan: AttemptPlan }
  | { readonly unfit: 'needs-login' | 'unavailable'; readonly reason: string }
  /** The account's upstream does not serve such a request; see `Provider.adapt`. */
  | { readonly refusal: Answer }

type Unfit = Extract<Injected, { unfit: unknown }>

export type InjectAuth = (exchange: Exchange, account: Account) => Promise<Injected>

const closed = new GatewayFailure(503, 'closed', 'this gateway has been closed', 1_000)

/** Makes a request the account's own: a fresh token, its headers, its address, its body. */
export function authInjection(pool: Pool, network: Network): InjectAuth {
  return async function authInjection(exchange, account) {
    // A request whose upstream `close` has ended would open a connection to the next account, and keep it open.
    if (network.closed) throw closed
    const adapted = await exchange.readingBody(() => adaptation(exchange, account))
    if (adapted && 'refusal' in adapted) return adapted
    const unfit = await prepare(pool, account)
    if (unfit) return unfit
    const { credential } = account
    const authorized = await authorize(exchange, account)
    if (network.closed) throw closed
    if (typeof authorized === 'string') {
      await pool.applyVerdict(account, { kind: 'needs-login', reason: authorized }, credential)
      return { unfit: 'needs-login', reason: authorized }
    }
    const target = targetOf(exchange, account, adapted?.path)
    const { body, rewritten } = await bodyFor(exchange, account, adapted?.body)
    const headers: IncomingHttpHeaders = {
      ...headersFor(exchange, account, pool.issued),
      ...authorized,
      ...lengthOf(exchange, body),
    }
    for (const [name, value] of Object.entries(headers)) if (value === undefined) delete headers[name]
    // A rewritten body is not compressed again.
    if (rewritten) delete headers['content-encoding']
    if (adapted?.body !== undefined) {
      headers.accept = 'text/event-stream'
      headers['content-type'] = 'application/json'
    }
    // A request that must not be sent twice gets a connection of its own. On a kept-alive one that the upstream has
    // closed it would be lost, and it would be unknown whether it had arrived.
    const reuse = exchange.replayable && !exchange.upgrades
    const proxy = account.declared.proxy ?? exchange.route.proxyOf(account.id)
    const agent = network.agent(account.key, target, proxy, reuse)
    return { plan: { method: exchange.method, target, headers, body, agent, form: adapted?.answer } }
  }
}

/** Gets the account a fresh token and its facts. @returns why it has none */
async function prepare(pool: Pool, account: Account): Promise<Unfit | undefined> {
  const token = await pool.tokens.ready(account)
  if (token.kind === 'needs-login') return { unfit: 'needs-login', reason: account.loginNeeded?.reason ?? '' }
  if (token.kind === 'unavailable') return { unfit: 'unavailable', reason: token.reason }
  const missing = await pool.facts.ready(account)
  if (missing === undefined) return undefined
  return { unfit: account.loginNeeded ? 'needs-login' : 'unavailable', reason: missing }
}

/** The request in the form that the account's upstream takes; see `Provider.adapt`. The body must have been read. */
export function adaptation(exchange: Exchange, account: Account): Adaptation | undefined {
  const body = () => exchange.repaired ?? exchange.json()
  return exchange.provider.adapt?.(exchange, account.forProvider(), body)
}

/** The account's headers; a string says what is wrong with them. */
async function authorize(exchange: Exchange, account: Account): Promise<IncomingHttpHeaders | string> {
  const { credential, facts } = account
  const headers: IncomingHttpHeaders = {}
  let given
  try {
    given = await exchange.provider.authorize({ credential, facts, model: exchange.model, request: exchange })
  } catch (error) {
    return redact(`authorize failed: ${messageOf(error)}`)
  }
  const entries = Object.entries(checkedHeaders(given, exchange.route.providerName))
  if (entries.length > 0 && entries.every(([, value]) => value === undefined))
    return `authorize gave no value for ${entries.map(([name]) => `"${name}"`).join(', ')}`
  for (const [name, value] of entries) {
    // A name without a value: the client's own header must not go out.
    if (value === undefined) {
      headers[name.toLowerCase()] = undefined
      continue
    }
    if (typeof value !== 'string' || value === '') return `authorize gave no text for the header "${name}"`
    headers[name.toLowerCase()] = value
  }
  rememberGiven(account, headers)
  return headers
}

/** A mistake in the user's code, not in a credential: a text or a list would go out as headers named `0`, `1`, `2`. */
function checkedHeaders(given: unknown, provider: string): Record<string, unknown> {
  if (isRecord(given)) return given
  const kind = Array.isArray(given) ? 'a list' : given === null || given === undefined ? given : typeof given
  const message = `provider "${provider}": authorize must return headers, such as { authorization: 'Bearer …' }, not ${kind}`
  throw new GatewayFailure(500, 'provider_failed', message)
}

function headersFor(exchange: Exchange, account: Account, issued: Pins): IncomingHttpHeaders {
  const headers = forwardable(exchange.headers, exchange.route.passes)
  for (const name of exchange.provider.boundHeaders ?? []) {
    const value = headers[name]
    if (typeof value === 'string' && issued.get(boundKey(exchange, name, value)) !== account.key)
      delete headers[name]
  }
  // Events are read while they pass.
  if (exchange.method === 'POST' && exchange.replayable) headers['accept-encoding'] = 'identity'
  return headers
}

/** The pin that says which account issued a header's value. */
export function boundKey(exchange: Exchange, header: string, value: string): string {
  return Pins.key('bound', exchange.route.providerName, header, value)
}

function targetOf(exchange: Exchange, account: Account, adapted: string | undefined): URL {
  const { provider, url, prefix } = exchange
  const path =
    adapted ?? provider.path?.(exchange, account.forProvider()) ?? url.slice(prefix.replace(/\/$/, '').length)
  if (/^https?:\/\//i.test(path)) return checkedAddress(path, exchange)
  const base = provider.upstream.replace(/\/$/, '')
  return new URL(path.startsWith('/') || path.startsWith('?') ? base + path : `${base}/${path}`)
}

/** A whole address may be made of a part of the client's path: the credential must not go where the client says. */
function checkedAddress(address: string, { provider, route }: Exchange): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const isKnown = url && (url.origin === new URL(provider.upstream).origin || isNamed(url, provider.hosts))
  if (isKnown && !url.username && !url.password) return url
  const message = `provider "${route.providerName}": path gave an address that is neither of its upstream nor, with https, of its hosts`
  throw new GatewayFailure(500, 'provider_failed', message)
}

function isNamed({ protocol, hostname, host }: URL, hosts: readonly string[] = []): boolean {
  return hosts.includes(host) && (protocol === 'https:' || isLoopback(hostname))
}

/** The body as this account gets it: the very bytes that came, unless the provider rewrites it. */
async function bodyFor(
  exchange: Exchange,
  account: Account,
  adapted: unknown,
): Promise<{ body: Body; rewritten: boolean }> {
  if (adapted !== undefined)
    return { body: { kind: 'buffered', bytes: await written(exchange, adapted) }, rewritten: true }
  const { provider, body } = exchange
  const asItCame = { body, rewritten: false }
  if (body.kind !== 'buffered' || (!provider.rewriteBody && exchange.repaired === undefined)) return asItCame
  const original = await exchange.readingBody(() => exchange.json())
  const repaired = exchange.repaired ?? original
  if (repaired === undefined) return asItCame
  const json = provider.rewriteBody?.(repaired, account.forProvider(), exchange) ?? repaired
  if (json === original) return asItCame
  return { body: { kind: 'buffered', bytes: await written(exchange, json) }, rewritten: true }
}

async function written(exchange: Exchange, json: unknown): Promise<Buffer> {
  try {
    return await exchange.written(json)
  } catch {
    // JSON.stringify overflows the stack on nesting that JSON.parse accepts.
    throw new GatewayFailure(400, 'bad_json', 'the request body is nested too deeply')
  }
}

function lengthOf(exchange: Exchange, body: Body): IncomingHttpHeaders {
  // Chunked only if the length is unknown: http-proxy closes the connection after a chunked request.
  if (body.kind === 'buffered') return { 'content-length': String(body.bytes.length) }
  const declared = exchange.headers['content-length']
  return body.kind === 'streaming' && declared !== undefined ? { 'content-length': declared } : {}
}
