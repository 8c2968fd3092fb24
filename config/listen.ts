import { isIP } from 'node:net'

export interface ListenAddress {
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

/** Reads `host:port` (IPv6 as `[::1]:8989`); `undefined` if it is not one. */
export function parseListen(text: string): ListenAddress | undefined {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[\w.-]+)):(?<port>\d{1,5})$/.exec(text)
  if (!match?.groups) return undefined
  const { v6, host = '', port } = match.groups
  if (v6 !== undefined && isIP(v6) !== 6) return undefined
  return Number(port) <= 65_535 ? { host: v6 ?? host, port: Number(port) } : undefined
}

/** Where a program on this machine reaches it: nobody can call "every address". */
export function localAddress({ host, port }: ListenAddress): string {
  const name = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[host] ?? (host.includes(':') ? `[${host}]` : host)
  return `http://${name}:${port}`
}
