import { createHmac, randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RequestHandler } from 'express'
import type { ResolvedConfig } from '../../config/config.js'
import { GatewayFailure } from '../../middleware/failure.js'
import { foreign, holdsKey, isLocal, sameSecret } from '../../middleware/guard.js'
import { admitPage } from '../../middleware/web-pages.js'
import { codeOf, makePrivateFolder, writeDurably } from '../credentials/durable-file.js'

type Access = ResolvedConfig['access']
type Request = Parameters<RequestHandler>[0]

/** Keeps web pages out as the guard does. No key is asked for: a health check carries none. */
export function noForeignPages(access: () => Access): RequestHandler {
  return function noForeignPages(request, response, next) {
    const rules = access()
    const failure = foreign(request, rules)
    // Kept open without a key, connections would take up the room of the clients with one.
    if (rules !== 'host-app' && (rules.keys ?? !isLocal(request, rules.proxies)))
      response.setHeader('connection', 'close')
    if (failure) return next(failure)
    if (rules === 'host-app' || !admitPage(request, response, rules)) next()
  }
}

/** Reading is open on this machine, unless there are access keys: a client key never opens `/admin`. */
export function mayRead(access: () => Access, token: string): RequestHandler {
  const needToken = mayChange(token)
  return function mayRead(request, response, next) {
    const rules = access()
    if (rules === 'host-app' || (!rules.keys && isLocal(request, rules.proxies))) return next()
    needToken(request, response, next)
  }
}

/** Numbers are open to a network that the configuration trusts as well. */
export function mayReadMetrics(access: () => Access, token: string): RequestHandler {
  const needToken = mayRead(access, token)
  return function mayReadMetrics(request, response, next) {
    const rules = access()
    if (rules !== 'host-app' && rules.keys === false) return next()
    needToken(request, response, next)
  }
}

/** Requires the token for every change of an account, from this machine too: any program can reach loopback. */
export function mayChange(token: string): RequestHandler {
  return function mayChange(request, _response, next) {
    if (hasToken(request, token)) return next()
    const how = 'Authorization: Bearer TOKEN, from the file admin-token beside the database'
    next(new GatewayFailure(403, 'admin_token_required', `this needs the admin token: ${how}`))
  }
}

/** Whether a health check may see names of accounts and words of errors: where keys are set, only with a key or the token. */
export function maySeeNames(request: Request, rules: Access, token: string): boolean {
  return rules === 'host-app' || !rules.keys || holdsKey(request, rules.keys) || hasToken(request, token)
}

function hasToken(request: Request, token: string): boolean {
  const presented = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1]
  return presented !== undefined && sameSecret(presented, token)
}

/** Where the command line finds the admin token of the gateway that uses `database`. */
function adminTokenFile(database: string): string {
  return join(dirname(database), 'admin-token')
}

/**
 * The token that lets a request change accounts; made at the first start, mode 0600. Without a database, or while the
 * disk takes no file, it is in memory only.
 */
export async function openAdminToken(
  database: string | false,
  warn: (message: string) => void,
): Promise<string> {
  const fresh = randomBytes(24).toString('base64url')
  if (database === false) return fresh
  const file = adminTokenFile(database)
  const kept = await readToken(file)
  if ('token' in kept) return kept.token
  if (kept.problem !== undefined) warn(`${file} ${kept.problem}; a new token is made`)
  try {
    await makePrivateFolder(dirname(file))
    await writeDurably(file, `${fresh}\n`)
  } catch (error) {
    warn(
      `${file} cannot be written (${codeOf(error)}): until a restart, commands that change accounts are refused`,
    )
  }
  return fresh
}

/**
 * The token for a command; `undefined` if there is none.
 * @throws an error with the code `admin_token_unusable`
 */
export async function readAdminToken(database: string | false): Promise<string | undefined> {
  if (database === false) return undefined
  const file = adminTokenFile(database)
  const kept = await readToken(file)
  if ('token' in kept) return kept.token
  if (kept.problem === undefined) return undefined
  const way = 'start the gateway again: it makes a new one'
  throw Object.assign(new Error(`${file} ${kept.problem}; ${way}`), { code: 'admin_token_unusable' })
}

async function readToken(file: string): Promise<{ token: string } | { problem: string | undefined }> {
  try {
    const { mode } = await stat(file)
    const token = (await readFile(file, 'utf8')).trim()
    if (!/^[\w-]{16,}$/.test(token)) return { problem: token === '' ? 'is empty' : 'holds no token' }
    // Another user of this machine may have read it.
    return (mode & 0o077) === 0 ? { token } : { problem: 'can be read by others' }
  } catch (error) {
    return { problem: codeOf(error) === 'ENOENT' ? undefined : `cannot be read (${codeOf(error)})` }
  }
}

/**
 * Shows a command that the gateway at this port knows the token, before the command sends it: any program may listen
 * there. With the port in it, another program cannot pass on what the gateway has signed.
 */
export function proofOf(token: string, nonce: string, port: number | undefined): string {
  return createHmac('sha256', token).update(`codex-pool ${port} ${nonce}`).digest('base64url')
}
