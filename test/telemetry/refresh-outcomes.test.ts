import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RefreshOutcome } from '../../src/refresh/refresh.js'
import { Accounts } from '../../src/accounts/accounts.js'
import { Events } from '../../src/telemetry/events.js'
import { logEvents } from '../../src/telemetry/log-events.js'
import { Metrics } from '../../src/telemetry/metrics.js'

const outcomes: [outcome: RefreshOutcome, event: string, counted: string | undefined, logged: string][] = [
  [{ kind: 'refreshed' }, 'refreshed', 'refreshed', 'info'],
  [{ kind: 'adopted' }, 'adopted', 'adopted', 'info'],
  [{ kind: 'unsaved', reason: 'ENOSPC' }, 'refreshed, but not written: ENOSPC', 'refreshed', 'warn'],
  [{ kind: 'written' }, 'written', undefined, 'info'],
  [{ kind: 'needs-login', reason: 'invalid_grant' }, 'needs login: invalid_grant', 'failed', 'warn'],
  [{ kind: 'failed', reason: 'HTTP 500' }, 'failed: HTTP 500', 'failed', 'warn'],
]
for (const [outcome, event, counted, logged] of outcomes)
  test(`a refresh that is ${outcome.kind} is told, counted and logged as what it is`, async () => {
    const events = new Events()
    const metrics = new Metrics(new Accounts(), Date.now)
    const levels: string[] = []
    const log = { info: () => levels.push('info'), warn: () => levels.push('warn') }
    const told: object[] = []
    logEvents({ events, log: log as never, health: { error: () => {} } as never, metrics })
    events.on('refresh', (refresh) => told.push(refresh))
    events.emit('refreshOutcome', { account: 'codex/alice', outcome })
    assert.deepEqual(told, [{ account: 'codex/alice', outcome: event }])
    assert.deepEqual(levels, [logged])
    const { values } = await metrics.refreshes.get()
    assert.deepEqual(
      values.map(({ labels, value }) => [labels.outcome, value]),
      counted === undefined ? [] : [[counted, 1]],
    )
  })
