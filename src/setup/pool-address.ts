import type { ResolvedConfig } from '../../config/config.js'
import { isLoopback, localAddress } from '../../config/index.js'
import { environmentProxy } from '../network.js'
import { setupRefused } from './personal-file.js'

/** Where a client finds the pool, without a slash at the end, and the access key that it needs. */
export type PoolAddress = { readonly url: string; readonly key?: string }

/** `url`: where the pool is, if not where this configuration listens. `key`: the name of an access key. */
export type AddressOptions = { url?: string; key?: string }

export function poolAddress({ listen, access }: ResolvedConfig, options: AddressOptions): PoolAddress {
  if (options.url === undefined && listen.socket !== undefined)
    throw setupRefused(
      'the pool listens on a Unix socket, which the clients cannot reach: say with --url what stands before it',
    )
  if (options.url === undefined && listen.port === 0)
    throw setupRefused('the pool listens on a free port (port 0): say which with --url http://HOST:PORT')
  const url = options.url === undefined ? localAddress(listen) : checked(options.url)
  // A pool on another machine has keys of its own.
  if (options.url !== undefined && options.key === undefined) return { url }
  const keys = new Map(Object.entries(access === 'host-app' ? {} : access.keys || {}))
  const names = [...keys.keys()].join(', ')
  if (options.key === undefined && keys.size === 0) return { url }
  if (options.key === undefined && keys.size > 1)
    throw setupRefused(`the pool asks for an access key: say which with --key NAME (${names})`)
  const key = keys.get(options.key ?? names)
  if (key !== undefined) return { url, key }
  throw setupRefused(`--key: "${options.key}" is not one of access.keys (${names || 'there are none'})`)
}

function checked(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username)
    throw setupRefused('--url is not an address such as http://127.0.0.1:8989')
  const address = `${url.origin}${url.pathname}`.replace(/(?<!\/)\/+$/, '')
  const extra = /\/(?:backend-api(?:\/codex)?|v1(?:beta|internal)?)$/.exec(address)?.[0]
  if (extra === undefined) return address
  const why = 'each client gets its own, and with /backend-api/codex Codex goes past the pool'
  throw setupRefused(`--url: leave out "${extra}" at the end; ${why}`)
}

/** The address with the key in its path, as Codex takes it. */
export const withKey = ({ url, key }: PoolAddress): string =>
  key === undefined ? url : `${url}/k/${encodeURIComponent(key)}`

/** Warnings about the way to the pool. `mode`: of the file that the address goes into. */
export function addressNotes({ url, key }: PoolAddress, mode: number): string[] {
  return [
    ...note(
      key !== undefined && (mode & 0o077) !== 0,
      'the file holds an access key of the pool now, and others on this machine may read it: chmod 600',
    ),
    ...note(
      !url.startsWith('https:') && !isLoopback(new URL(url).hostname),
      `the way to ${url} is not encrypted, and the client sends its own login along`,
    ),
  ]
}

/** Tells when a proxy of the environment stands between a client and the pool. `schemes`: whose proxies it obeys. */
export function proxyNote(client: string, url: string, schemes: readonly string[]): string[] {
  const { hostname, host } = new URL(url)
  const scheme = schemes.find((one) => environmentProxy(`${one}//${host}`) !== '')
  return note(
    scheme,
    `${scheme?.slice(0, -1).toUpperCase()}_PROXY or ALL_PROXY is set, and NO_PROXY does not name ${hostname}: ` +
      `${client} would ask that proxy for the pool. Set NO_PROXY=${hostname}`,
  )
}

export const note = (applies: unknown, text: string): string[] => (applies ? [text] : [])
