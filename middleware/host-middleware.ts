import express, { type Express, type Request, type RequestHandler, type Response } from 'express'
import { exchangeOf } from './exchange.js'

/** Runs the Express middleware that the config names under `use`, as it was when the request came in. */
export function hostMiddleware(): RequestHandler {
  const app = express()
  return function hostMiddleware(request, response, next) {
    const { use } = exchangeOf(request).snapshot
    async function run(index: number): Promise<void> {
      const handler = use[index]
      if (!handler) return next()
      try {
        await handler(request, response, (error) => (error ? next(error) : void run(index + 1)))
      } catch (error) {
        next(error)
      }
    }
    if (use.length > 0) expressed(request, response, app)
    void run(0)
  }
}

/** A gateway on its own port has no Express app in front, which would have added `response.json` and the like. */
function expressed(request: Request, response: Response, app: Express): void {
  if ('app' in request) return
  Object.setPrototypeOf(request, app.request)
  Object.setPrototypeOf(response, app.response)
  Object.assign(request, { res: response })
  Object.assign(response, { req: request })
}
