import express, { type Express, type Request, type RequestHandler, type Response } from 'express'
import { exchangeOf } from './exchange.js'

/** Runs the Express middleware under `use` of the config that was in force when the request came in. */
export function hostMiddleware(): RequestHandler {
  const app = express()
  return function hostMiddleware(request, response, next) {
    const { use } = exchangeOf(request).snapshot
    /** Never rejects: an error goes to `next`. */
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

/** Adds `response.json` and the like, which an Express app in front would have added. */
function expressed(request: Request, response: Response, app: Express): void {
  if ('app' in request) return
  Object.setPrototypeOf(request, app.request)
  Object.setPrototypeOf(response, app.response)
  Object.assign(request, { res: response })
  Object.assign(response, { req: request })
}
