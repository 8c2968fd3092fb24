import type { Environment } from '../../config/index.js'

/**
 * Tells when a proxy of the environment would stand between a client and the pool.
 * `variables` are those that this client obeys for an address of this kind.
 */
export function proxyNote(
  client: string,
  url: string,
  variables: readonly string[],
  env: Environment,
): string | undefined {
  const name = variables.flatMap((one) => [one, one.toLowerCase()]).find((one) => env[one])
  const hostname = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')
  if (name === undefined || excepted(hostname, env.NO_PROXY ?? env.no_proxy ?? '')) return undefined
  return (
    `${name} is set and NO_PROXY does not name ${hostname}: ${client} would ask that proxy for the pool. ` +
    `Set NO_PROXY=${hostname}`
  )
}

function excepted(hostname: string, list: string): boolean {
  return list
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((entry) => entry.replace(/^([^:]+):\d+$/, '$1').replace(/^\*?\./, ''))
    .some((entry) => entry === '*' || hostname === entry || hostname.endsWith(`.${entry}`))
}
