import { json } from '../answer.js'
import type { SimRequest } from '../request.js'
import type { Upstream } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { unknownToken } from './errors.js'

const PATH = '/api/accounts/v1/user-auth-credential/whoami'

/** Tells whose a personal access token is. */
export function createWhoami(accounts: readonly CodexAccount[]): Upstream {
  const holder = ({ headers }: SimRequest) => {
    const token = headers.authorization?.replace(/^Bearer /, '') ?? ''
    return accounts.find((account) => account.stateOf(token) === 'valid')
  }
  return {
    kind: 'wham',
    owns: (path) => path === PATH,
    account: (request) => holder(request)?.id,
    answer(request) {
      const account = holder(request)
      if (!account) return unknownToken
      return json(200, {
        email: account.email,
        chatgpt_user_id: account.userId,
        chatgpt_account_id: account.accountId,
        chatgpt_plan_type: account.plan,
        chatgpt_account_is_fedramp: false,
      })
    },
  }
}
