/**
 * The accounts of a pool in a process of their own, to be killed: all that a gateway does for its credentials, without
 * the HTTP around it. It starts in a third of the time that way, and so can be killed three times as often.
 */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { defaults } from '../../../config/config.js'
import { builtinProviders } from '../../../config/provider-entry.js'
import { codex } from '../../../providers/codex.js'
import type { Account } from '../../../src/accounts/account.js'
import { Events } from '../../../src/telemetry/events.js'
import { AccountStore } from '../../../src/accounts/account-store.js'
import { Background } from '../../../src/pool/background.js'
import { PoolFiles } from '../../../src/pool/pool-files.js'
import { Pool } from '../../../src/pool/pool.js'
import type { Settings } from '../../../src/settings.js'
import { openStateStore } from '../../../src/state/store.js'

export interface PoolProcess {
  readonly poolDir: string
  readonly codexHome: string
  /** Address of the token endpoint. */
  readonly issuer: string
  /** Address that the access tokens are for. */
  readonly upstream: string
}

process.env.no_proxy = '*'
// The parent process has ended.
process.on('disconnect', () => process.exit())

const { poolDir, codexHome, issuer, upstream } = JSON.parse(process.argv[2]!) as PoolProcess
const own = { codexHome, refreshBase: issuer, whamBase: upstream }
const provider = codex({ ...builtinProviders.codex, ...own } as Parameters<typeof codex>[0])
const refresh = { ...defaults.refresh, spacingMs: 0 }
const settings = {
  config: { ...defaults, poolDir, refresh, quotaPollMs: 0, providers: {} },
  providers: new Map([['codex', provider]]),
} as unknown as Settings
const pool = new Pool({
  settings: () => settings,
  store: new AccountStore(await openStateStore(false)),
  // Not through undici's own package, which takes as long to load as all the rest.
  network: { fetch: () => fetch },
  events: new Events(),
  closing: new AbortController().signal,
  now: Date.now,
})
const background = new Background({
  tokens: pool.tokens,
  accounts: () => pool.accounts.all(),
  settings: () => settings.config,
  pollQuota: (account) => pool.pollQuota(account),
  now: Date.now,
})
const files = new PoolFiles({
  pool,
  warn() {},
  onError(error) {
    throw error
  },
})
process.send!('ready')
await once(process, 'message')
await files.open()
background.start()
for (const account of pool.accounts.all()) void useForEver(account)

/** What a stream of requests does with an account. */
async function useForEver(account: Account): Promise<never> {
  for (;;) {
    if ((await pool.tokens.ready(account)).kind === 'fresh') await use(account)
    await delay(20 + Math.random() * 60)
  }
}

async function use(account: Account): Promise<void> {
  const { credential } = account
  const headers = (await provider.authorize({ credential } as never)) as Record<string, string>
  const answer = await fetch(`${upstream}/wham/usage`, { headers }).catch(() => undefined)
  await answer?.text().catch(() => undefined)
  if (answer?.status === 401) await pool.tokens.replaceRefused(account, credential)
}
