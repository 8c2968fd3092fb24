import { readFile, rm } from 'node:fs/promises'
import { type ListenAddress, parseListen } from '../../config/index.js'
import { writeDurably } from '../credentials/durable-file.js'

/** What the running gateway of a database tells about itself, in a file beside the database. */
export interface RunningGateway {
  /** `http://HOST:PORT` or `unix:PATH` */
  readonly address: string
  readonly pid: number
  readonly version: string
}

const fileOf = (database: string): string => `${database}.gateway.json`

/** Lets the commands find this gateway, on whatever address and from whatever folder they are called. */
export async function tellWhere(database: string | false, gateway: RunningGateway): Promise<void> {
  if (database !== false) await writeDurably(fileOf(database), `${JSON.stringify(gateway)}\n`)
}

export async function forgetWhere(database: string | false): Promise<void> {
  if (database !== false) await rm(fileOf(database), { force: true })
}

/** The gateway that has told where it is; it may be dead since, or another program may have its address. */
export async function lastTold(database: string | false): Promise<RunningGateway | undefined> {
  if (database === false) return undefined
  try {
    const told = JSON.parse(await readFile(fileOf(database), 'utf8')) as Partial<RunningGateway>
    const { address, pid, version } = told
    return typeof address === 'string' && typeof pid === 'number'
      ? { address, pid, version: String(version) }
      : undefined
  } catch {
    return undefined
  }
}

export const listenOf = ({ address }: RunningGateway): ListenAddress | undefined =>
  parseListen(address.replace(/^http:\/\//, ''))
