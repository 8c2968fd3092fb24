#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const DEFAULT_ADDRESS = '127.0.0.1:8989'

async function answeredQuickly(args: readonly string[]): Promise<boolean> {
  const [command, flag, option, listen, ...rest] = args
  if (command !== 'status' || flag !== '--line' || rest.length > 0) return false
  const isListen = option === '--listen' || option === '-l'
  if (option !== undefined && !isListen) return false
  const address = listen ?? (process.env.PROXY_LISTEN_ADDR || (await addressOfHome()))
  if (address === undefined) return false
  const { quickLine } = await import('./status-line.js')
  const line = await quickLine(address).catch(() => undefined)
  if (line === undefined) return false
  process.stdout.write(`${line}\n`)
  return true
}

/** Where the gateway of the home has told that it listens; `undefined` if only a configuration can tell. */
async function addressOfHome(): Promise<string | undefined> {
  const { homeOf } = await import('./home.js')
  const { holdsConfig } = await import('../../config/places.js')
  const { folder } = homeOf(process.cwd(), process.env)
  const database = process.env.PROXY_DB_PATH || join(folder, 'data', 'proxy.db')
  try {
    const told = JSON.parse(readFileSync(`${database}.gateway.json`, 'utf8')) as { address: string }
    return told.address.replace(/^http:\/\//, '')
  } catch {
    return holdsConfig(folder) ? undefined : DEFAULT_ADDRESS
  }
}

/**
 * The entry of the program. A prompt asks for `status --line` at every key: it must not load the other commands, the
 * configuration and a gateway, which take half a second.
 */
if (!(await answeredQuickly(process.argv.slice(2)))) await import('./main.js')
