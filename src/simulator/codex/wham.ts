import { type Answer, json, notFound } from '../answer.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { fullWindow, roll } from './quota.js'
import { usageWindow } from './quota-report.js'

type Page = (account: CodexAccount, request: SimRequest, world: World) => unknown

/** What the ChatGPT backend tells about an account, beside the models. */
export function wham(request: SimRequest, account: CodexAccount, world: World): Answer {
  const page = PAGES[`${request.method} ${request.path.replace('/backend-api/', '')}`]
  return page ? json(200, page(account, request, world)) : notFound
}

const PAGES: Record<string, Page> = {
  'GET wham/usage': (account, _request, world) => usage(account, world.now()),
  'GET wham/accounts/check': (account) => ({ accounts: [workspace(account)] }),
  'GET wham/settings/user': () => ({ git_branch_prefix: 'codex/', enable_memory: false }),
  'GET wham/rate-limit-reset-credits': () => ({ credits: [], total: 0 }),
  'POST wham/rate-limit-reset-credits/consume': (account) => reset(account),
  'GET wham/security-setup': () => ({ required: false }),
  'GET wham/workspace-messages': () => ({ messages: [] }),
  'GET wham/tasks/list': () => ({ items: [], cursor: null }),
  'POST wham/tasks': (account) => ({ task: { id: `task_sim_${account.id}`, title: 'Simulated task' } }),
  'GET ps/plugins/installed': () => ({ plugins: [], pagination: { limit: 200, next_page_token: null } }),
  'GET ps/plugins/suggested/codex': () => ({ enabled: false, plugins: [] }),
}

/** Without `workspace_backend_origin` and `account_routing_override` the terminal client refuses to start. */
function workspace(account: CodexAccount) {
  return {
    id: account.accountId,
    plan_type: account.plan,
    workspace_backend_origin: 'https://chatgpt.com',
    account_routing_override: 'NO_CONSTRAINT',
  }
}

function usage(account: CodexAccount, now: number) {
  roll(account.windows, now)
  const full = fullWindow(account.windows)
  const { hasCredits, unlimited, balance } = account.credits
  return {
    user_id: account.userId,
    account_id: account.accountId,
    email: account.email,
    plan_type: account.plan,
    rate_limit: {
      allowed: !full,
      limit_reached: Boolean(full),
      primary_window: usageWindow(account.windows.primary, now),
      secondary_window: usageWindow(account.windows.secondary, now),
    },
    code_review_rate_limit: null,
    additional_rate_limits: null,
    credits: {
      has_credits: hasCredits,
      unlimited,
      balance,
      approx_local_messages: [0, 0],
      approx_cloud_messages: [0, 0],
    },
  }
}

/** Empties both windows, as a reset credit does. */
function reset(account: CodexAccount) {
  account.windows.primary.usedPercent = 0
  if (account.windows.secondary) account.windows.secondary.usedPercent = 0
  return { code: 'reset', windows_reset: 2 }
}
