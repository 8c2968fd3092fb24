import type { RequestHandler } from 'express'
import { covers } from '../config/index.js'

/** The first route whose prefix covers `path`. */
export function matchRoute<R extends { readonly path: string }>(
  routes: readonly R[],
  path: string,
): R | undefined {
  return routes.find((route) => covers(route.path, path))
}

/**
 * For a gateway that another app has mounted at its root: what no route covers is the app's own, and is left alone
 * before any rule of ours could turn it away.
 */
export function scope(routes: () => readonly { readonly path: string }[]): RequestHandler {
  return function scope(request, _response, next) {
    next(request.baseUrl === '' && !isOurs(routes(), request.url) ? 'router' : undefined)
  }
}

/** Whether a route covers this path, with or without an access key in front. */
export function isOurs(routes: readonly { readonly path: string }[], url: string): boolean {
  const path = url
    .split('?', 1)[0]!
    .replace(/^\/+/, '/')
    .replace(/^\/k\/[^/]+\/+/, '/')
  return matchRoute(routes, path) !== undefined
}
