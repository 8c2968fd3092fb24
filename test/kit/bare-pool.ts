import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { defaults } from '../../config/config.js'
import type { Credential, Provider } from '../../config/provider.js'
import { AccountStore } from '../../src/accounts/account-store.js'
import type { Account } from '../../src/accounts/account.js'
import { Pool } from '../../src/pool/pool.js'
import { openStateStore } from '../../src/state/store.js'
import { Events } from '../../src/telemetry/events.js'

export interface BarePool {
  readonly pool: Pool
  readonly events: Events
  readonly clock: { now: number }
  account(id: string): Account
  /** Writes an account's file and has the pool read it. */
  write(id: string, credential: Credential): Promise<void>
}

/** The accounts of one provider `it`, without the HTTP around them. Each file is `{ "token": "of ID" }`. */
export async function barePool(
  t: TestContext,
  ids: readonly string[],
  provider: Partial<Provider> = {},
): Promise<BarePool> {
  const poolDir = await mkdtemp(join(tmpdir(), 'bare-pool-'))
  t.after(() => rm(poolDir, { recursive: true }))
  const definition: Provider = {
    upstream: 'https://upstream.invalid',
    credentials: '*.json',
    authorize: ({ credential }) => ({ authorization: `Bearer ${credential.token}` }),
    ...provider,
  }
  const clock = { now: Date.parse('2026-11-28T12:00:00Z') }
  const events = new Events()
  const providers = new Map([['it', definition]])
  const settings = { config: { ...defaults, poolDir, providers: {} } as never, providers }
  const pool = new Pool({
    settings: () => settings,
    store: new AccountStore(await openStateStore(false)),
    network: { fetch: () => fetch },
    events,
    closing: new AbortController().signal,
    now: () => clock.now,
  })
  const write = async (id: string, credential: Credential) => {
    await writeFile(join(poolDir, `${id}.json`), JSON.stringify(credential), { mode: 0o600 })
    await pool.accounts.scan(poolDir, providers)
  }
  for (const id of ids) await write(id, { token: `of ${id}` })
  return { pool, events, clock, write, account: (id) => pool.accounts.get(`it/${id}`)! }
}
