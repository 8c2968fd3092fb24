import { bearer, type SimRequest } from '../request.js'
import { type Answer, type Dialogue, json, notFound, type Upstream, type World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { badRequest, expired, foreignAccount, missingToken, unknownToken } from './errors.js'
import { usageReport } from './quota.js'
import { availableCredits, consumeResetCredit, listResetCredits } from './quota.js'
import { MODELS_ETAG, responses, responsesSocket } from './responses.js'

const ROOT = '/backend-api/'
const CODEX = '/backend-api/codex/'

/** `https://chatgpt.com/backend-api`: the models under `codex/`, everything about the account beside it. */
export function createBackend(accounts: readonly CodexAccount[], world: World): Upstream[] {
  const holder = (request: SimRequest) => accounts.find((it) => it.stateOf(bearer(request)) !== undefined)
  const serve = <T>(request: SimRequest, give: (account: CodexAccount) => T): Answer | T => {
    const account = holder(request)
    return account
      ? (refusal(request, account) ?? give(account))
      : bearer(request)
        ? unknownToken
        : missingToken
  }
  const account = (request: SimRequest) => holder(request)?.id
  return [
    {
      kind: 'codex',
      owns: ({ path }) => path.startsWith(CODEX),
      account,
      answer: (request) => serve(request, (account) => codexPath(request, account, world)),
      upgrade: (request) =>
        request.path === `${CODEX}responses`
          ? serve<Answer | Dialogue>(request, (account) => responsesSocket(request, account, world))
          : notFound,
    },
    {
      kind: 'wham',
      owns: ({ path }) => path.startsWith(ROOT),
      account,
      answer: (request) => serve(request, (account) => accountPath(request, account, world)),
    },
    {
      kind: 'wham',
      owns: ({ path }) => path === '/api/accounts/v1/user-auth-credential/whoami',
      account,
      answer: (request) => whoami(holder(request), bearer(request)),
    },
  ]
}

/** Refuses a token that has ended, and one that is used for another account than its own. */
function refusal(request: SimRequest, account: CodexAccount): Answer | undefined {
  const state = account.stateOf(bearer(request))
  if (state !== 'valid') return state === 'expired' ? expired : unknownToken
  return request.headers['chatgpt-account-id'] === account.accountId ? undefined : foreignAccount
}

function codexPath(request: SimRequest, account: CodexAccount, world: World): Answer {
  const call = `${request.method} ${request.path.slice(CODEX.length)}`
  if (call === 'POST responses') return responses(request, account, world)
  // With an empty list, the Codex CLI takes the catalogue that it brings along.
  if (call === 'GET models' && !request.query.has('client_version'))
    return badRequest('client_version is required')
  if (call === 'GET models')
    return json(200, { models: (account.models ?? []).map(model) }, { etag: MODELS_ETAG })
  if (call === 'POST alpha/search') return json(200, { output: 'No results: this is a simulator.' })
  return notFound
}

/** The fields without which the Codex CLI throws the whole list away. */
function model(slug: string, index: number) {
  return {
    slug,
    display_name: slug,
    description: 'A simulated model.',
    default_reasoning_level: 'medium',
    supported_reasoning_levels: [{ effort: 'medium', description: 'Balanced' }],
    shell_type: 'unified_exec',
    visibility: 'list',
    supported_in_api: true,
    priority: index + 1,
    support_verbosity: true,
    default_verbosity: 'low',
    apply_patch_tool_type: 'freeform',
    truncation_policy: { mode: 'tokens', limit: 10_000 },
    context_window: 272_000,
    experimental_supported_tools: [],
    base_instructions: 'You are a simulated coding agent.',
  }
}

/** The paths about an account and its person. */
function accountPath(request: SimRequest, account: CodexAccount, world: World): Answer {
  if (`${request.method} ${request.path}` === `POST ${ROOT}wham/rate-limit-reset-credits/consume`)
    return consumeResetCredit(request, account, world.now())
  const page = PAGES[`${request.method} ${request.path.slice(ROOT.length)}`]
  return page ? json(200, page(account, world)) : notFound
}

const PAGES: Record<string, (account: CodexAccount, world: World) => unknown> = {
  'GET wham/usage': (account, world) => ({
    ...usageReport(account, world.now()),
    rate_limit_reset_credits: { available_count: availableCredits(account, world.now()).length },
  }),
  'GET wham/settings/user': () => ({ git_branch_prefix: 'codex/', enable_memory: false }),
  'GET wham/rate-limit-reset-credits': (account, world) => listResetCredits(account, world.now()),
  // The policy of a workspace. Codex does not start without it when the plan is a business, enterprise or edu one.
  'GET wham/config/bundle': ({ accountId }) => ({
    workspace_id: accountId,
    policies: [{ sandbox: 'read-only' }],
  }),
  'GET wham/security-setup': () => ({ required: false }),
  'GET wham/tasks/list': () => ({ items: [], cursor: null }),
  'POST wham/tasks': ({ id }) => ({ task: { id: `task_sim_${id}`, title: 'Simulated task' } }),
  'GET ps/plugins/installed': () => ({ plugins: [], pagination: { limit: 200, next_page_token: null } }),
  'GET ps/plugins/list': () => ({ plugins: [], pagination: { limit: 200, next_page_token: null } }),
  'GET ps/plugins/suggested': () => ({ enabled: false, plugins: [] }),
  'GET ps/plugins/suggested/codex': () => ({ enabled: false, plugins: [] }),
  'GET connectors/directory/list': () => ({ apps: [] }),
  'GET connectors/directory/list_workspace': () => ({ apps: [] }),
  'GET plugins/featured': () => [],
}

/** The owner of a personal access token. */
function whoami(account: CodexAccount | undefined, token: string): Answer {
  if (account?.stateOf(token) !== 'valid') return unknownToken
  return json(200, {
    email: account.email,
    chatgpt_user_id: account.userId,
    chatgpt_account_id: account.accountId,
    chatgpt_plan_type: account.plan,
    chatgpt_account_is_fedramp: false,
  })
}
