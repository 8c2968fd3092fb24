import { isLoopback } from './loopback.js'
import type { Fault } from './problems.js'

/** Credentials are sent there: nobody on the way may read them. */
export function checkUpstream(address: string): Fault | undefined {
  const url = parse(address)
  if (!url) return { code: 'bad_address', message: 'must be an address that starts with https://' }
  if (url.username || url.password) {
    return {
      code: 'credentials_in_address',
      message: 'must hold no user or password: credentials belong in the pool directory',
    }
  }
  if (url.search || url.hash) return { code: 'bad_address', message: 'must end before any ? or #' }
  if (url.protocol === 'https:' || isLoopback(url.hostname)) return undefined
  return {
    code: 'insecure_upstream',
    message:
      'must be https, or http to this machine (localhost, 127.0.0.1, [::1]): credentials are sent there',
  }
}

/** A proxy only sees the encrypted connection pass, and a user and password in its address are the custom. */
export function checkProxy(address: string): Fault | undefined {
  if (parse(address)) return undefined
  return { code: 'bad_address', message: 'must be the address of a proxy, such as http://proxy.example:3128' }
}

function parse(address: string): URL | undefined {
  if (!URL.canParse(address)) return undefined
  const url = new URL(address)
  return url.protocol === 'http:' || url.protocol === 'https:' ? url : undefined
}
