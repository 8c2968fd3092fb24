import type { RequestHandler } from 'express'
import { kept } from '../config/index.js'
import type { ClientRequest, Conversation } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import { Pins } from '../src/accounts/pins.js'
import type { Trails } from '../src/accounts/trails.js'
import type { Pool } from '../src/pool/pool.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { GatewayFailure } from './failure.js'
import { resourcesOf } from './resources.js'

/** Finds out which conversation and model a request belongs to. */
export function stickiness(trails: Trails): RequestHandler {
  return async function stickiness(request, _response, next) {
    const exchange = exchangeOf(request)
    await exchange.readingBody(() => identify(exchange, trails))
    const failure = misread(exchange)
    if (failure) throw failure
    next()
  }
}

/** Characters. The client chooses the model's name, and requests and cooldowns keep it. */
const LONGEST_MODEL = 200

export function identify(exchange: Exchange, trails: Trails): void {
  const { provider } = exchange
  const model = provider.model ? provider.model(exchange) : modelOf(exchange.json())
  exchange.model =
    model !== undefined && model.length <= LONGEST_MODEL ? kept(model, LONGEST_MODEL) : undefined
  exchange.resources = resourcesOf(exchange)
  findConversation(exchange, exchange, trails)
}

/**
 * Finds out the conversation of a request, or of a WebSocket by one of its messages.
 * @param fresh the name of a conversation that begins
 */
export function findConversation(
  exchange: Exchange,
  request: ClientRequest,
  trails: Trails,
  fresh = exchange.id,
): void {
  const { provider, route } = exchange
  const told = provider.conversation?.(request)
  exchange.conversation = typeof told === 'string' ? { id: told } : told
  exchange.trail = undefined
  exchange.pinKeys = []
  if (!exchange.conversation) return
  const { id, aliases = [], history } = exchange.conversation
  if (id === '' && !history) return
  if (history) exchange.trail = trails.follow(keysOf(exchange, [''])[0]!, history, fresh)
  const keys = exchange.trail ? [exchange.trail.conversation] : keysOf(exchange, [id, ...aliases])
  exchange.conversationKey = keys[0]
  if (route.sticky) exchange.pinKeys = keys
}

/** The failure for a body that cannot be read. A body that cannot be rewritten would name another account's project. */
function misread({ unreadable, provider, headers }: Exchange): GatewayFailure | undefined {
  const rewritten = provider.rewriteBody !== undefined
  if (unreadable === 'not_json' && (rewritten || /[/+]json\b/i.test(headers['content-type'] ?? '')))
    return new GatewayFailure(400, 'bad_json', 'the request body is not JSON, or nested too deeply')
  if (unreadable === 'unknown_encoding' && rewritten)
    return new GatewayFailure(415, 'unknown_encoding', 'the content-encoding of the request body is unknown')
  return undefined
}

function modelOf(json: unknown): string | undefined {
  const model = (json as { model?: unknown } | undefined)?.model
  return typeof model === 'string' ? model : undefined
}

/** The keys of a conversation's pins. */
export function keysOf({ route, client }: Exchange, names: readonly string[]): string[] {
  return names.map((name) => Pins.key('conversation', route.providerName, client, name))
}

/**
 * The account that a request should stay with: its owner's, or the one that served its conversation last. After a move
 * the conversation stays with the new account: its cache is warm, and only it can read the reasoning encrypted since.
 */
export function homeOf(
  exchange: Exchange,
  offered: readonly Account[],
  pool: Pool,
  all: readonly Account[],
): { readonly account: Account; readonly by: string } | undefined {
  const own = ownAccounts(exchange.conversation, all).find((account) => offered.includes(account))
  if (own) return { account: own, by: 'owner' }
  const pinned = pinOf(exchange, pool)
  const home = pinned === undefined ? undefined : offered.find(({ key }) => key === pinned)
  return home && { account: home, by: 'conversation' }
}

/** The key of the account that served the conversation last. */
export function pinOf(exchange: Exchange, pool: Pool): string | undefined {
  const pins = pinsFor(exchange, pool)
  return exchange.pinKeys.map((key) => pins.get(key)).find((key) => key !== undefined)
}

/** Conversations without a name are pinned apart from those with one. */
function pinsFor({ trail }: Exchange, pool: Pool): Pins {
  return trail ? pool.trails.pins : pool.pins
}

/**
 * The caller's own accounts: several if several files hold logins of one person. A workspace alone identifies an account
 * only if one account of the pool is in it, and that account is not known to be a colleague's.
 */
export function ownAccounts(
  conversation: Conversation | undefined,
  all: readonly Account[],
): readonly Account[] {
  const { owner, workspace, ownerOnly } = conversation ?? {}
  const own = all.filter(({ inspection }) => owner !== undefined && inspection.identity === owner)
  if (own.length > 0 || ownerOnly || workspace === undefined) return own
  const members = all.filter(({ inspection }) => inspection.workspace === workspace)
  const isUnknown = owner === undefined || members[0]?.inspection.identity === workspace
  return members.length === 1 && isUnknown ? members : []
}

/** Remembers the account that serves the conversation. */
export function pin(exchange: Exchange, account: Account, pool: Pool): void {
  const pins = pinsFor(exchange, pool)
  for (const key of exchange.pinKeys) pins.set(key, account.key)
  if (exchange.trail) pool.trails.served(exchange.trail)
}
