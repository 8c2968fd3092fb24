import { covers } from '../config/index.js'

/** The first route whose prefix covers `path`. */
export function matchRoute<R extends { readonly path: string }>(
  routes: readonly R[],
  path: string,
): R | undefined {
  return routes.find((route) => covers(route.path, path))
}
