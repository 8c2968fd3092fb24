#!/usr/bin/env node
import { existsSync, readdirSync } from 'node:fs'

/**
 * The entry of the program. A prompt asks for `status --line` at every key: it must not load the other commands, the
 * configuration and a gateway, which take half a second.
 */
if (!(await answeredQuickly(process.argv.slice(2)))) await import('./main.js')

async function answeredQuickly(args: readonly string[]): Promise<boolean> {
  const [command, flag, option, listen, ...rest] = args
  if (command !== 'status' || flag !== '--line' || rest.length > 0) return false
  const isListen = option === '--listen' || option === '-l'
  if (option !== undefined && !isListen) return false
  const address = listen ?? (process.env.PROXY_LISTEN_ADDR || (hasOwnConfig() ? undefined : DEFAULT_ADDRESS))
  if (address === undefined) return false
  const { quickLine } = await import('./status-line.js')
  const line = await quickLine(address).catch(() => undefined)
  if (line === undefined) return false
  process.stdout.write(`${line}\n`)
  return true
}

const DEFAULT_ADDRESS = '127.0.0.1:8989'

/** Whether this folder may configure another address. */
function hasOwnConfig(): boolean {
  return existsSync('package.json') || readdirSync('.').some((name) => /^\.?codex-pool/.test(name))
}
