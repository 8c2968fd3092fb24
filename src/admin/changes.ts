import express, { type Router } from 'express'
import { send } from '../../middleware/failure.js'
import { GatewayFailure } from '../../middleware/gateway-failure.js'
import { mayChange } from './guard.js'
import type { Administered } from './administered.js'

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
      if (body) send(response, { status: 200, body })
      else next(new GatewayFailure(404, 'unknown_account', `there is no account "${id}"`))
    })
  }
  return router
}
