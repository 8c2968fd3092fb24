import type { Explanation } from '../../middleware/explanation.js'
import type { PickRecord } from '../../middleware/exchange.js'
import type { AccountReport } from '../admin/reports.js'
import { readConfig } from '../settings.js'
import { adminCall, noGatewayAt } from './admin-call.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { print } from './output.js'
import { creditLines } from './status.js'

/** `codex-pool explain ID`: why a request went where it went. The id is in the answer's `x-codex-pool-request-id`. */
export async function explain(options: CommonOptions, id: string): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const path = `/admin/requests/${encodeURIComponent(id)}`
  const explanation = await adminCall<Explanation>(config, 'GET', path)
  if (!explanation) throw Object.assign(new Error(noGatewayAt(config)), { code: 'not_running' })
  print(textOf(explanation))
  const asked = new Set(explanation.picks.map(({ account }) => account))
  const { accounts } = (await adminCall<{ accounts: AccountReport[] }>(config, 'GET', '/admin/accounts')) ?? {
    accounts: [],
  }
  for (const line of accounts
    .filter(({ id, provider }) => asked.has(`${provider}/${id}`))
    .flatMap((account) => creditLines(account, Date.now())))
    print(line)
}

function textOf(explanation: Explanation): string {
  const { method, path, at, route, provider, model, conversation, picks, attempts, status, durationMs } =
    explanation
  const lines = [
    `${method} ${path}  at ${at}`,
    `route ${route}, provider ${provider}, model ${model ?? 'unknown'}, conversation ${conversation ?? 'none'}`,
    ...picks.flatMap(pickLines),
    ...attempts.map(
      (attempt) =>
        `${attempt.account}: ${attempt.status ?? 'no answer'}, ${attempt.outcome}, ${attempt.durationMs} ms`,
    ),
    `${explanation.state}: ${status ?? '-'} by ${explanation.servedBy ?? 'the gateway'} after ${durationMs ?? '?'} ms`,
  ]
  return lines.join('\n')
}

function pickLines({ account, by, others }: PickRecord): string[] {
  return [
    `asked ${account ?? 'no account'} (${by})`,
    ...others.map((other) => `    not ${other.account}: ${other.why}`),
  ]
}
