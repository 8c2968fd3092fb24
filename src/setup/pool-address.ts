import type { ResolvedConfig } from '../../config/config.js'
import { isLoopback, localAddress } from '../../config/index.js'
import { SetupError } from './setup-error.js'

/** Where a client finds the pool. */
export interface PoolAddress {
  /** Without a slash at the end, and without a key unless the person put one there. */
  readonly url: string
  readonly key?: { readonly name: string; readonly secret: string }
}

export interface AddressOptions {
  /** Where the pool is, if not where this configuration listens. */
  url?: string
  /** The name of an access key. */
  key?: string
}

/** @throws {SetupError} when the configuration and the options leave it open */
export function poolAddress(config: ResolvedConfig, options: AddressOptions): PoolAddress {
  const url = options.url === undefined ? listening(config) : given(options.url)
  const keys = config.access === 'host-app' ? {} : config.access.keys || {}
  // The pool elsewhere has keys of its own.
  if (options.url !== undefined && options.key === undefined) return { url }
  return { url, ...chosen(keys, options.key) }
}

/** The address with the key in its path, as Codex takes it. */
export const withKey = ({ url, key }: PoolAddress): string =>
  key ? `${url}/k/${encodeURIComponent(key.secret)}` : url

function listening({ listen }: ResolvedConfig): string {
  if (listen.port === 0)
    throw new SetupError('the pool listens on a free port (port 0): say which with --url http://HOST:PORT')
  return localAddress(listen)
}

function given(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username)
    throw new SetupError('--url is not an address such as http://127.0.0.1:8989')
  const address = `${url.origin}${url.pathname}`.replace(/\/+$/, '')
  const extra = /\/(?:backend-api(?:\/codex)?|v1(?:beta|internal)?)$/.exec(address)
  if (!extra) return address
  const why = address.endsWith('/codex') ? '; with it Codex goes to chatgpt.com itself, past the pool' : ''
  throw new SetupError(`--url: leave out "${extra[0]}" at the end, each client gets its own${why}`)
}

function chosen(keys: Readonly<Record<string, string>>, name: string | undefined): Pick<PoolAddress, 'key'> {
  const names = Object.keys(keys)
  const only = name ?? (names.length === 1 ? names[0] : undefined)
  if (only === undefined && names.length > 0)
    throw new SetupError(`the pool asks for an access key: say which with --key NAME (${names.join(', ')})`)
  if (only === undefined) return {}
  const secret = Object.hasOwn(keys, only) ? keys[only] : undefined
  if (secret === undefined)
    throw new SetupError(
      `--key: "${only}" is not one of access.keys (${names.join(', ') || 'there are none'})`,
    )
  return { key: { name: only, secret } }
}

/** Whether what the client sends there, its own login among it, stays unread on the way. */
export const isPrivateWay = (url: string): boolean =>
  url.startsWith('https:') || isLoopback(new URL(url).hostname)
