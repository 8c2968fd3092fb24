import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express'
import type { ResolvedConfig } from '../../config/config.js'
import { redactAll } from '../../config/index.js'
import type { Explanations } from '../../middleware/explanation.js'
import { GatewayFailure, sendJson } from '../../middleware/failure.js'
import { answerFailure, type FailureOptions } from '../../middleware/final-answer.js'
import type { Events } from '../telemetry/events.js'
import type { Health, HealthReport } from '../telemetry/health.js'
import type { Metrics } from '../telemetry/metrics.js'
import { mayChange, mayRead, mayReadMetrics, maySeeNames, noForeignPages, proofOf } from './access.js'
import { groupings } from '../usage/report.js'
import { follow } from './follow.js'
import { type AccountReport, type Administered, poolReport } from './reports.js'

export interface AdminParts extends FailureOptions {
  readonly access: () => ResolvedConfig['access']
  readonly token: string
  readonly health: Health
  readonly metrics: Metrics
  readonly gateway: Administered
  readonly explanations: Explanations
  readonly events: Events
}

/** `/healthz`, `/metrics`, `/admin/…`. */
export function adminRouter(parts: AdminParts): Router {
  const router = express.Router()
  const read = mayRead(parts.access, parts.token)
  const { access, token, gateway } = parts
  router.use(['/healthz', '/metrics', '/admin'], noForeignPages(access))
  router.get('/healthz', answerHealth(parts))
  router.get('/metrics', mayReadMetrics(access, token), async (_request, response) => {
    const { registry } = parts.metrics
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics())
  })
  router.get('/admin/accounts', read, (_request, response) =>
    answer(response, { status: 200, body: poolReport(gateway) }),
  )
  router.get('/admin/usage', read, (request, response) => {
    const { searchParams } = new URL(request.url, 'http://localhost')
    const by = groupings.find((one) => one === searchParams.get('by')) ?? 'account'
    const since = Date.parse(searchParams.get('since') ?? '') || 0
    answer(response, { status: 200, body: { by, usage: gateway.usage(by, since) } })
  })
  router.get('/admin/log', read, follow(parts.events))
  router.get('/admin/requests', read, async (request, response) => {
    const requests = await parts.explanations.last(filterOf(request.url))
    answer(response, { status: 200, body: { requests } })
  })
  router.get('/admin/requests/:id', read, async (request, response, next) => {
    const body = await parts.explanations.get(String(request.params.id))
    if (body) answer(response, { status: 200, body })
    else next(new GatewayFailure(404, 'unknown_request', 'no request of this id is remembered'))
  })
  router.post('/admin/reload', read, async (_request, response) => {
    const report = await gateway.reload()
    answer(response, { status: report.configProblem === undefined ? 200 : 400, body: report })
  })
  router.use('/admin/accounts', changesRouter(token, gateway))
  router.all(['/healthz', '/metrics', '/admin/accounts', '/admin/requests', '/admin/reload'], wrongMethod)
  router.use('/admin', (_request, _response, next) =>
    next(new GatewayFailure(404, 'no_route', 'no such endpoint')),
  )
  router.use(badPercentSign, answerFailure(parts))
  return router
}

/** The words of upstreams and of a user's own code are in these answers. */
function answer(response: Response, { status, body }: { status: number; body: object }): void {
  sendJson(response, { status, body: redactAll(body) })
}

/** Explanations in one answer: as many as are asked for, within a bound. */
const [SHOWN, MOST_SHOWN] = [20, 200]

function filterOf(url: string) {
  const { searchParams } = new URL(url, 'http://localhost')
  return {
    account: searchParams.get('account') ?? undefined,
    conversation: searchParams.get('conversation') ?? undefined,
    limit: Math.min(Number(searchParams.get('limit')) || SHOWN, MOST_SHOWN),
  }
}

const NONCE = /^[\w-]{16,64}$/

function answerHealth({ access, token, health }: AdminParts): RequestHandler {
  return function answerHealth(request, response) {
    const nonce = String(request.headers['x-codex-pool-nonce'])
    if (NONCE.test(nonce))
      response.setHeader('x-codex-pool-proof', proofOf(token, nonce, request.socket.localPort))
    const report = health.report()
    const body = maySeeNames(request, access(), token) ? report : countsOf(report)
    answer(response, { status: 200, body })
  }
}

/** A health report without names of accounts and words of errors. */
function countsOf({ status, uptimeSeconds, accounts, problems, recentErrors }: HealthReport) {
  const counts = { problemCount: problems.length, recentErrorCount: recentErrors.length }
  return { status, uptimeSeconds, accounts, ...counts }
}

/** Express hands over an error of its own for an id that cannot be decoded. */
const badPercentSign: ErrorRequestHandler = (error, _request, _response, next) => {
  const failure = new GatewayFailure(
    400,
    'bad_path',
    'the path holds a percent sign that stands for no character',
  )
  next(error instanceof URIError ? failure : error)
}

function wrongMethod(request: Request, response: Response): void {
  // Not `request.path`: only an Express app around us would add it.
  const allow = request.url.startsWith('/admin/reload') ? 'POST' : 'GET'
  const message = `this endpoint takes ${allow}`
  sendJson(response, { status: 405, headers: { allow }, body: { error: { message, code: 'wrong_method' } } })
}

/** `POST /:id/disable`, `…/enable`, `…/retry`, `…/redeem`, and `POST /retry` for all; under `/admin/accounts`. */
function changesRouter(token: string, gateway: Administered): Router {
  const changes: Record<
    string,
    (id: string) => AccountReport | undefined | Promise<AccountReport | undefined>
  > = {
    disable: (id) => gateway.setDisabled(id, true),
    enable: (id) => gateway.setDisabled(id, false),
    retry: (id) => gateway.retry(id)[0],
    redeem: (id) => gateway.redeem(id).catch(refuseRedeeming),
  }
  const router = express.Router()
  const change = mayChange(token)
  router.post('/retry', change, (_request, response) =>
    answer(response, { status: 200, body: { accounts: gateway.retry() } }),
  )
  for (const [name, make] of Object.entries(changes))
    router.post(`/:id/${name}`, change, async (request, response, next) => {
      const id = String(request.params.id)
      const body = await make(id)
      if (body) answer(response, { status: 200, body })
      else next(new GatewayFailure(404, 'unknown_account', `there is no account "${id}"`))
    })
  return router
}

function refuseRedeeming(error: Error): never {
  throw new GatewayFailure(409, 'not_redeemed', `no reset credit was redeemed: ${error.message}`)
}
