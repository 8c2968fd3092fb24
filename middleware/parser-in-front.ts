import type { RequestHandler } from 'express'

/** A layer of an Express router, 4 or 5. */
interface Layer {
  readonly name?: string
  readonly handle?: { readonly stack?: readonly Layer[] }
  /** The part of the path that has matched last, in Express 4. */
  readonly path?: string
  match(path: string): boolean | { readonly path: string }
}

/** The types of Express know the one of version 5 only. */
interface App {
  readonly router?: Layer['handle']
  readonly _router?: Layer['handle']
}

/** The functions of `body-parser` for the bodies that an upstream takes, as `express.json()` and its kind return them. */
const PARSERS: ReadonlySet<string | undefined> = new Set(['jsonParser', 'textParser', 'rawParser'])

const MESSAGE =
  'a body parser of the app stands in front of the gateway: it refuses bodies above its own limit (express.json(): 100 KB) ' +
  'and in encodings that it does not know (zstd) before the gateway sees them. Mount gateway.middleware before the parser, ' +
  "or give the parser to the app's own routes only"

/** Says once that a parser stands in front. */
export function tellOnce(warn: (message: string) => void): () => void {
  let told = false
  return () => {
    if (!told) warn(MESSAGE)
    told = true
  }
}

/**
 * Tells of a body parser that the app runs before the gateway. What it refuses never gets here, so the layers of the app
 * are looked at with the first request that comes in, whatever that asks for.
 */
export function parserInFront(mounted: RequestHandler, tell: () => void): RequestHandler {
  const seen = new WeakSet()
  return function parserInFront(request, _response, next) {
    const app = request.app as object | undefined as App | undefined
    // Without Express around it the gateway finds no app in the request.
    if (app && !seen.has(app)) {
      seen.add(app)
      const path = request.originalUrl.replace(/\?.*/s, '')
      // In Express 4 `router` is a getter that throws.
      if (hasParserBefore(mounted, (app._router ?? app.router)?.stack ?? [], path)) tell()
    }
    next()
  }
}

function hasParserBefore(mounted: RequestHandler, stack: readonly Layer[], path: string): boolean {
  let found = false
  for (const layer of passed(stack, path)) {
    if (layer.handle === mounted) return found
    found ||= PARSERS.has(layer.name)
  }
  return false
}

/** The layers that a request for this path passes, those of nested routers included. */
function* passed(stack: readonly Layer[], path: string): Generator<Layer> {
  for (const layer of stack) {
    const match = layer.match(path)
    if (!match) continue
    yield layer
    const prefix = match === true ? layer.path : match.path
    if (layer.handle?.stack) yield* passed(layer.handle.stack, path.slice(prefix?.length) || '/')
  }
}
