import type { Stage } from './stage.js'

/** Everything that one needs to see why a scenario failed. */
export function report(stage: Stage, error: unknown): string {
  const { sim, gateway, runs, attempts, outside } = stage
  const requests = sim.requests.map(
    ({ kind, method, url, account, status }) => `${kind} ${method} ${url} ${account ?? '-'} ${status ?? '-'}`,
  )
  const accounts = gateway.accounts().map(({ id, state, reason }) => `${id} ${state} ${reason ?? ''}`)
  return [
    error instanceof Error ? error.message : String(error),
    ...runs.map(
      ({ command, code, stdout, stderr }) =>
        `--- ${command}: exit status ${code}\n${tail(stdout)}\n--- stderr\n${tail(stderr)}`,
    ),
    `--- the gateway's accounts\n${accounts.join('\n')}`,
    `--- the gateway's attempts\n${attempts.join('\n')}`,
    `--- the simulator's requests\n${requests.join('\n')}`,
    `--- asked for outside\n${outside.asked.join('\n')}`,
  ].join('\n')
}

const tail = (text: string): string => text.slice(-3000)
