import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RequestHandler } from 'express'
import type { ResolvedConfig } from '../../config/config.js'
import { isLoopback } from '../../config/index.js'
import { GatewayFailure } from '../../middleware/failure.js'
import { foreign, sameSecret } from '../../middleware/guard.js'
import { admitPage } from '../../middleware/web-pages.js'

/** Keeps web pages out as the guard does. No key is asked for: a health check carries none. */
export function noForeignPages(access: () => ResolvedConfig['access']): RequestHandler {
  return function noForeignPages(request, response, next) {
    const rules = access()
    const failure = foreign(request, rules)
    if (failure) return next(failure)
    if (rules === 'host-app' || !admitPage(request, response, rules)) next()
  }
}

/** Reading is open on this machine, unless there are access keys: a client key never opens `/admin`. */
export function mayRead(access: () => ResolvedConfig['access'], token: string): RequestHandler {
  const needToken = mayChange(token)
  return function mayRead(request, response, next) {
    const rules = access()
    if (rules === 'host-app' || rules.keys === false) return next()
    if (rules.keys === undefined && isLoopback(request.socket.remoteAddress)) return next()
    needToken(request, response, next)
  }
}

/** What changes accounts needs the token, wherever it comes from: any program on this machine can reach loopback. */
export function mayChange(token: string): RequestHandler {
  return function mayChange(request, _response, next) {
    const presented = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1]
    if (presented !== undefined && sameSecret(presented, token)) return next()
    const how = 'Authorization: Bearer TOKEN, from the file admin-token beside the database'
    next(new GatewayFailure(403, 'admin_token_required', `this needs the admin token: ${how}`))
  }
}

/** Where the command line finds the admin token of the gateway that uses `database`. */
export function adminTokenFile(database: string): string {
  return join(dirname(database), 'admin-token')
}

/** The token that opens what changes accounts; made at the first start, 0600. Without a database it is in memory only. */
export async function openAdminToken(database: string | false): Promise<string> {
  const fresh = randomBytes(24).toString('base64url')
  if (database === false) return fresh
  const file = adminTokenFile(database)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  try {
    await writeFile(file, `${fresh}\n`, { mode: 0o600, flag: 'wx' })
    return fresh
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await readFile(file, 'utf8')).trim()
  }
}
