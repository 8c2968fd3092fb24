import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestPool } from './pool.js'

/** What every token and key of the simulator looks like, and the client's own. */
const SECRET =
  /eyJ[\w-]{8,}\.eyJ|\brt_sim_\w|ya29\.sim|\b1\/\/sim|\bsk-sim-|\bgemini-sim-|the-clients-own-token/

/** A line of the gateway's log. */
const LINE = /^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warn |info |debug) /

const told: string[] = []

/**
 * From now on this file reads the log of the gateways in this process, and the terminal does not show it.
 */
export function watchLogs(): void {
  const { stderr } = process
  const write = stderr.write.bind(stderr)
  stderr.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
    const text = String(chunk)
    if (!LINE.test(text)) return write(chunk, ...rest)
    if (SECRET.test(text)) told.push(text)
    return true
  }) as typeof stderr.write
}

/** Fails if a secret is in the log so far, in the database, or in an answer of the gateway's own endpoints. */
export async function noSecretIsSeen(pool: TestPool): Promise<void> {
  const { accounts, skipped } = { accounts: pool.gateway.accounts(), skipped: pool.gateway.skipped() }
  const places = {
    accounts: JSON.stringify({ accounts, skipped }),
    log: told.join(''),
    ...(await stored(pool)),
  }
  for (const path of ['/healthz', '/metrics', '/admin/accounts'])
    Object.assign(places, { [path]: await page(pool, path) })
  for (const [place, text] of Object.entries(places)) {
    const found = SECRET.exec(text)
    assert.ok(!found, `a secret (${found?.[0].slice(0, 6)}…) stands in ${place}`)
  }
}

/** Empty if the test has stopped the server or closed it to requests. */
async function page({ url }: TestPool, path: string): Promise<string> {
  try {
    const response = await fetch(url + path, { signal: AbortSignal.timeout(5000) })
    return await response.text()
  } catch {
    return ''
  }
}

async function stored({ dir }: TestPool): Promise<Record<string, string>> {
  const data = join(dir, 'data')
  const names = await readdir(data, { recursive: true }).catch(() => [])
  const texts = names.map(async (name) => [name, await readFile(join(data, name), 'utf8').catch(() => '')])
  return Object.fromEntries(await Promise.all(texts)) as Record<string, string>
}
