/**
 * Whether a route's prefix matches a path; or, between two prefixes, whether the first leaves nothing to the second.
 * A prefix ends at a segment border: without that, `/v1` would swallow `/v1beta`. One that ends in `:` or `/` is plain.
 */
export function covers(prefix: string, path: string): boolean {
  return /[:/]$/.test(prefix) ? path.startsWith(prefix) : path === prefix || path.startsWith(`${prefix}/`)
}

const ownPaths = ['/healthz', '/metrics', '/admin', '/k']

/** The gateway's own path under which a route would never be reached, if it is one. */
export function reservedPath(path: string): string | undefined {
  return ownPaths.find((own) => covers(own, path))
}
