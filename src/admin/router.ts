import express, { type Request, type Response, type Router } from 'express'
import type { ResolvedConfig } from '../../config/config.js'
import { answerFailure, send, type FailureOptions } from '../../middleware/failure.js'
import { GatewayFailure } from '../../middleware/gateway-failure.js'
import type { Explanations } from '../../middleware/explanation.js'
import type { Health } from '../health.js'
import type { Metrics } from '../metrics.js'
import type { Administered } from './administered.js'
import { changesRouter } from './changes.js'
import { fromHere, mayRead } from './guard.js'

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
  router.use(['/healthz', '/metrics', '/admin'], fromHere(parts.access))
  router.get('/healthz', (_request, response) => send(response, { status: 200, body: parts.health.report() }))
  router.get('/metrics', read, async (_request, response) => {
    const { registry } = parts.metrics
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics())
  })
  router.get('/admin/accounts', read, (_request, response) =>
    send(response, {
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
    if (body) send(response, { status: 200, body })
    else next(new GatewayFailure(404, 'unknown_request', 'no request of this id is remembered'))
  })
  router.post('/admin/reload', read, async (_request, response) => {
    const report = await parts.gateway.reload()
    send(response, { status: report.configProblem === undefined ? 200 : 400, body: report })
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
  send(response, { status: 405, headers: { allow }, body: { error: { message, code: 'wrong_method' } } })
}
