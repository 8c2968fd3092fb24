import type { RequestHandler } from 'express'
import { exchangeOf } from './exchange.js'

/** Runs the Express middleware that the config names under `use`, as it was when the request came in. */
export function hostMiddleware(): RequestHandler {
  return function hostMiddleware(request, response, next) {
    const { use } = exchangeOf(request).snapshot
    const run = (index: number): void => {
      const handler = use[index]
      if (!handler) return next()
      Promise.resolve(handler(request, response, (error) => (error ? next(error) : run(index + 1)))).catch(
        next,
      )
    }
    run(0)
  }
}
