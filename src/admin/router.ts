import express, { type Request, type Response, type Router } from 'express'
import type { ResolvedConfig } from '../../config/config.js'
import type { Explanations } from '../../middleware/explanation.js'
import { GatewayFailure, sendJson } from '../../middleware/failure.js'
import { answerFailure, type FailureOptions } from '../../middleware/final-answer.js'
import type { Health } from '../telemetry/health.js'
import type { Metrics } from '../telemetry/metrics.js'
import { noForeignPages, mayChange, mayRead } from './access.js'
import type { Administered } from './reports.js'

export interface AdminParts extends FailureOptions {
  readonly access: () => ResolvedConfig['access']
  readonly token: string
  readonly health: Health
  readonly metrics: Metrics
  readonly gateway: Administered
  readonly explanations: Explanations
}

/** `/healthz`, `/metrics`, `/admin/…`. */
export function adminRouter(parts: AdminParts): Router {
  const router = express.Router()
  const read = mayRead(parts.access, parts.token)
  router.use(['/healthz', '/metrics', '/admin'], noForeignPages(parts.access))
  router.get('/healthz', (_request, response) =>
    sendJson(response, { status: 200, body: parts.health.report() }),
  )
  router.get('/metrics', read, async (_request, response) => {
    const { registry } = parts.metrics
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics())
  })
  router.get('/admin/accounts', read, (_request, response) =>
    sendJson(response, {
      status: 200,
      body: {
        accounts: parts.gateway.accounts(),
        skipped: parts.gateway.skipped(),
        warnings: parts.gateway.warnings(),
      },
    }),
  )
  router.get('/admin/requests/:id', read, (request, response, next) => {
    const body = parts.explanations.get(String(request.params.id))
    if (body) sendJson(response, { status: 200, body })
    else next(new GatewayFailure(404, 'unknown_request', 'no request of this id is remembered'))
  })
  router.post('/admin/reload', read, async (_request, response) => {
    const report = await parts.gateway.reload()
    sendJson(response, { status: report.configProblem === undefined ? 200 : 400, body: report })
  })
  router.use('/admin/accounts', changesRouter(parts.token, parts.gateway))
  router.all(['/healthz', '/metrics', '/admin/accounts', '/admin/reload'], wrongMethod)
  router.use('/admin', (_request, _response, next) =>
    next(new GatewayFailure(404, 'no_route', 'no such endpoint')),
  )
  router.use(answerFailure(parts))
  return router
}

function wrongMethod(request: Request, response: Response): void {
  // Not `request.path`: only an Express app around us would add it.
  const allow = request.url.startsWith('/admin/reload') ? 'POST' : 'GET'
  const message = `this endpoint takes ${allow}`
  sendJson(response, { status: 405, headers: { allow }, body: { error: { message, code: 'wrong_method' } } })
}

/** `POST /:id/disable`, `POST /:id/enable`, under `/admin/accounts`. */
export function changesRouter(token: string, gateway: Pick<Administered, 'setDisabled'>): Router {
  const router = express.Router()
  for (const [change, disabled] of [
    ['disable', true],
    ['enable', false],
  ] as const) {
    router.post(`/:id/${change}`, mayChange(token), (request, response, next) => {
      const id = String(request.params.id)
      const body = gateway.setDisabled(id, disabled)
      if (body) sendJson(response, { status: 200, body })
      else next(new GatewayFailure(404, 'unknown_account', `there is no account "${id}"`))
    })
  }
  return router
}
