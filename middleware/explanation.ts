import { kept } from '../config/index.js'
import type { Usage } from '../config/provider.js'
import { pressureOf } from '../src/accounts/strategies.js'
import type { ExplanationLog } from '../src/usage/explanation-log.js'
import type { AttemptRecord, Exchange, PickRecord } from './exchange.js'

/** Which accounts a request was sent to, and why. Times are ISO 8601. No secret, no text of a prompt. */
export interface Explanation {
  readonly id: string
  readonly state: 'running' | 'answered' | 'client-left'
  readonly at: string
  readonly method: string
  readonly path: string
  readonly route: string
  readonly provider: string
  readonly model?: string | undefined
  /** A hash: the same for all requests of one conversation. */
  readonly conversation?: string | undefined
  readonly picks: readonly ExplainedPick[]
  readonly attempts: readonly (Omit<AttemptRecord, 'startedAt'> & { readonly at: string })[]
  readonly servedBy?: string | undefined
  /** Why the gateway gave an answer of its own, if that is a failure. */
  readonly reason?: string | undefined
  readonly status?: number | undefined
  readonly durationMs?: number | undefined
  readonly firstByteMs?: number | undefined
  readonly client?: string | undefined
  readonly usage?: Usage | undefined
}

/** One choice of an account. Where an account was kept, no others were looked at. */
export interface ExplainedPick {
  readonly account: string | undefined
  /** `owner`, `conversation`, or the strategy's name. */
  readonly by: string
  /** Of the chosen account, if a strategy chose it. */
  readonly numbers?: Numbers | undefined
  readonly others: readonly {
    readonly account: string
    readonly why: string
    readonly until?: string | undefined
    readonly numbers?: Numbers | undefined
  }[]
}

/** What a strategy compares. */
export interface Numbers {
  /** Of the fullest window. */
  readonly usedPercent?: number | undefined
  readonly inFlight: number
  /** The share that is left of the longest window, divided by the share of its time that is left. */
  readonly pressure?: number | undefined
}

/** What is kept of a request. The explanation is made of it only when it is asked for. */
type Ended = Omit<Explanation, 'picks'> & { readonly picks: readonly PickRecord[] }

/** Characters. The paths of the APIs that are spoken here have about 100. */
const LONGEST_PATH = 500
/** Finished requests that are kept in memory. */
const REMEMBERED = 2_000

export interface ExplanationFilter {
  /** `provider/id`, or the id alone: one of the accounts that were asked. */
  readonly account?: string | undefined
  /** The beginning of its hash. */
  readonly conversation?: string | undefined
  readonly limit: number
}

/** Running requests and the last ones that ended, those before a restart as well. */
export class Explanations {
  #running = new Map<string, Exchange>()
  #ended = new Map<string, Ended>()

  /** @param log keeps them over a restart */
  constructor(private readonly log?: ExplanationLog) {}

  begin(exchange: Exchange): void {
    this.#running.set(exchange.id, exchange)
  }

  end(exchange: Exchange, status: number | undefined): void {
    this.#running.delete(exchange.id)
    const durationMs = Date.now() - exchange.startedAt
    const state = status === undefined ? 'client-left' : 'answered'
    const ended = { ...endedOf(exchange), state, status, durationMs } as const
    this.#ended.set(exchange.id, ended)
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > REMEMBERED) this.#ended.delete(oldest!)
    this.log?.add(() => explained(ended))
  }

  async get(id: string): Promise<Explanation | undefined> {
    const running = this.#running.get(id)
    const known = running ? endedOf(running) : this.#ended.get(id)
    if (known) return explained(known)
    return (await this.log?.read())?.find((told) => told.id === id) as Explanation | undefined
  }

  /** The last ones, newest first. */
  async last({ account, conversation = '', limit }: ExplanationFilter): Promise<Explanation[]> {
    const matches = ({ picks, conversation: own = '' }: Pick<Explanation, 'conversation'> & Asked): boolean =>
      own.startsWith(conversation) && (account === undefined || picks.some(isOf(account)))
    const live = [...this.#ended.values(), ...[...this.#running.values()].map(endedOf)]
    const found = live.filter(matches).toReversed().slice(0, limit).map(explained)
    if (found.length >= limit) return found
    const known = new Set(live.map(({ id }) => id))
    const before = ((await this.log?.read()) ?? []) as Explanation[]
    const older = before.filter((told) => !known.has(told.id) && matches(told)).toReversed()
    return [...found, ...older.slice(0, limit - found.length)]
  }
}

interface Asked {
  readonly picks: readonly { readonly account: string | undefined }[]
}

const isOf =
  (name: string) =>
  ({ account = '' }: Asked['picks'][number]): boolean =>
    account === name || account.endsWith(`/${name}`)

function endedOf(exchange: Exchange): Ended {
  const { id, method, path, route, model, conversationKey, picks, servedBy, usage } = exchange
  const { firstByteAt, startedAt } = exchange
  return {
    id,
    state: 'running',
    at: new Date(exchange.startedAt).toISOString(),
    method,
    path: kept(path, LONGEST_PATH),
    route: route.path,
    provider: route.providerName,
    model,
    conversation: conversationKey,
    picks,
    attempts: exchange.attempts.map(({ startedAt, ...rest }) => ({
      ...rest,
      at: new Date(startedAt).toISOString(),
    })),
    servedBy: servedBy?.key,
    reason: reasonOf(exchange),
    client: clientOf(exchange),
    firstByteMs: firstByteAt === undefined ? undefined : firstByteAt - startedAt,
    usage,
  }
}

/** Characters. */
const LONGEST_CLIENT = 40

/** The product that a `user-agent` begins with. */
export function clientOf({ headers }: Exchange): string | undefined {
  const [product = ''] = headers['user-agent']?.split(/[\s/]/, 1) ?? []
  return product === '' ? undefined : kept(product, LONGEST_CLIENT)
}

/** The message of the gateway's own failure: all clients parse it at the same place. */
export function reasonOf({ outcome }: Exchange): string | undefined {
  if (outcome?.kind !== 'own' || outcome.answer.status < 400) return undefined
  const { error } = (outcome.answer.body ?? {}) as { error?: { message?: unknown } }
  return typeof error?.message === 'string' ? error.message : undefined
}

const explained = (ended: Ended): Explanation => ({ ...ended, picks: ended.picks.map(explainedPick) })

function explainedPick({ account, by, at, candidates, others }: PickRecord): ExplainedPick {
  const told = candidates.map(({ id, provider, usedPercent, inFlight, windows }) => {
    const pressure = pressureOf(windows, at)
    const numbers = {
      usedPercent,
      inFlight,
      pressure: pressure === undefined ? undefined : Math.round(pressure * 100) / 100,
    }
    return { account: `${provider}/${id}`, why: 'not chosen', numbers }
  })
  return {
    account,
    by,
    numbers: told.find((one) => one.account === account)?.numbers,
    others: [
      ...told.filter((one) => one.account !== account),
      ...others.map((other) => ({
        ...other,
        until: other.until === undefined ? undefined : new Date(other.until).toISOString(),
      })),
    ],
  }
}
