import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Accounts } from '../accounts/accounts.js'

/** Generations run for seconds to minutes. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/** The metrics of `/metrics`. Each gateway has a registry of its own. */
export class Metrics {
  readonly registry = new Registry()
  readonly requests = new Counter({
    name: 'codexpool_requests_total',
    help: 'Requests answered, by status (499: the client left first)',
    labelNames: ['status'] as const,
    registers: [this.registry],
  })
  readonly accountRequests = new Counter({
    name: 'codexpool_account_requests_total',
    help: 'Upstream attempts, by account and status (0: no answer)',
    labelNames: ['account', 'status'] as const,
    registers: [this.registry],
  })
  readonly duration = new Histogram({
    name: 'codexpool_request_duration_seconds',
    help: 'From the arrival of a request to the end of its answer',
    labelNames: ['route'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly firstByte = new Histogram({
    name: 'codexpool_first_byte_seconds',
    help: 'From the arrival of a request to the first byte of its answer',
    labelNames: ['route'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly attempts = new Histogram({
    name: 'codexpool_request_attempts',
    help: 'Accounts asked for one request',
    labelNames: ['route'] as const,
    buckets: [0, 1, 2, 3, 4, 5, 10, 20],
    registers: [this.registry],
  })
  readonly replays = new Counter({
    name: 'codexpool_replays_after_sent_total',
    help: 'Attempts made after an earlier one of the same request may have reached an upstream',
    registers: [this.registry],
  })
  readonly refreshes = new Counter({
    name: 'codexpool_token_refreshes_total',
    help: 'Token refreshes, by outcome: refreshed, adopted (from a file), failed',
    labelNames: ['outcome'] as const,
    registers: [this.registry],
  })
  readonly tokens = new Counter({
    name: 'codexpool_tokens_total',
    help: 'Tokens used, as the upstreams counted them',
    labelNames: ['account', 'kind'] as const,
    registers: [this.registry],
  })
  readonly listenerFailures = new Counter({
    name: 'codexpool_listener_failures_total',
    help: 'Errors thrown by listeners of gateway.on, by event',
    labelNames: ['event'] as const,
    registers: [this.registry],
  })

  constructor(accounts: Accounts, now: () => number) {
    new Gauge({
      name: 'codexpool_accounts',
      help: 'Accounts, by provider and state',
      labelNames: ['provider', 'state'] as const,
      registers: [this.registry],
      collect() {
        this.reset()
        for (const account of accounts.all())
          this.inc({ provider: account.provider, state: account.state(now()) })
      },
    })
    new Gauge({
      name: 'codexpool_requests_in_flight',
      help: 'Requests running on an account',
      labelNames: ['account'] as const,
      registers: [this.registry],
      collect() {
        this.reset()
        for (const account of accounts.all()) this.set({ account: account.id }, account.inFlight)
      },
    })
  }
}
