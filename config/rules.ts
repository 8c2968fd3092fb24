import { checkProxy, checkUpstream } from './address.js'
import { parseListen } from './listen.js'
import type { Fault } from './problems.js'
import { reservedPath } from './route-path.js'

/** What is wrong with one value. It never quotes the value: the caller knows whether it may be shown. */
export type Rule = (value: unknown) => Fault | undefined

/** Checks of single values, by the name under which the schema asks for them. */
export const rules = {
  text: expects('text that is not empty', (value) => typeof value === 'string' && value.trim() !== ''),
  textOrFalse: expects('a path, or false', (value) =>
    typeof value === 'string' ? value !== '' : value === false,
  ),
  callable: expects('a function', (value) => typeof value === 'function'),
  listen: text(
    'bad_listen',
    'must be host:port, such as 127.0.0.1:8989 or [::1]:8989; port 0 to 65535',
    (value) => Boolean(parseListen(value)),
  ),
  upstream: checkText(checkUpstream),
  proxy: checkText(checkProxy),
  routePath: checkText(checkRoutePath),
  host: text('bad_host', 'must be a host name alone: no scheme, port or path', (value) =>
    /^[\w.-]+$/.test(value),
  ),
  origin: text('bad_origin', 'must be an origin: https://example.com, without a path', isOrigin),
  filePattern: text('bad_pattern', 'must be a pattern for file names: no folder', (value) =>
    /^[^/\\]+$/.test(value),
  ),
  accessKey: checkText(checkAccessKey),
} satisfies Record<string, Rule>

export type RuleName = keyof typeof rules

function expects(what: string, holds: (value: unknown) => boolean): Rule {
  return (value) => (holds(value) ? undefined : { code: 'wrong_type', message: `must be ${what}` })
}

function checkText(check: (value: string) => Fault | undefined): Rule {
  return (value) =>
    typeof value === 'string' ? check(value) : { code: 'wrong_type', message: 'must be text' }
}

function text(code: Fault['code'], message: string, holds: (value: string) => boolean): Rule {
  return checkText((value) => (holds(value) ? undefined : { code, message }))
}

function checkRoutePath(path: string): Fault | undefined {
  if (!path.startsWith('/')) return { code: 'bad_path', message: 'must start with /' }
  // A `*` is the habit of other routers. Here it would be looked for in the path, and never found.
  if (/[*?#\s\\]/.test(path)) {
    return { code: 'bad_path', message: 'must be a plain prefix: no *, ?, #, \\ or space' }
  }
  const own = reservedPath(path)
  return own
    ? { code: 'reserved_path', message: `lies under ${own}, which the gateway answers itself` }
    : undefined
}

function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value
}

/** Anybody who can reach the port may guess; and the key travels as `/k/KEY/…`, where a `/` would end it. */
function checkAccessKey(key: string): Fault | undefined {
  const howTo = '`openssl rand -hex 24` makes one'
  if (key.length < 16) return { code: 'bad_key', message: `is too short: at least 16 characters; ${howTo}` }
  if (/^[A-Za-z0-9._~-]+$/.test(key)) return undefined
  return {
    code: 'bad_key',
    message: `may hold letters, digits and - . _ ~ only, since it travels in a path; ${howTo}`,
  }
}
