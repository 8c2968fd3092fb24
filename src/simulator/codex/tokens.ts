import { randomBytes, randomUUID } from 'node:crypto'
import { jwt } from '../jwt.js'
import type { CodexTokens } from './family.js'

/** The client id of the Codex CLI, public in its source. */
export const CODEX_CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'

interface Subject {
  readonly id: string
  readonly accountId: string
  readonly userId: string
  readonly email: string
  readonly plan: string
}

/** New tokens with the claims that the Codex CLI reads. Times in ms since 1970. */
export function mintTokens(subject: Subject, expiresAt: number, now: number): CodexTokens {
  const claims = {
    iss: 'https://auth.openai.com',
    sub: subject.userId,
    iat: Math.floor(now / 1000),
    exp: Math.floor(expiresAt / 1000),
    jti: randomUUID(),
    'https://api.openai.com/auth': {
      chatgpt_account_id: subject.accountId,
      chatgpt_plan_type: subject.plan,
      chatgpt_user_id: subject.userId,
    },
  }
  return {
    id_token: jwt({ ...claims, aud: [CODEX_CLIENT_ID], email: subject.email, email_verified: true }),
    access_token: jwt({ ...claims, aud: ['https://api.openai.com/v1'], client_id: CODEX_CLIENT_ID }),
    refresh_token: `rt_sim_${subject.id}_${randomBytes(12).toString('base64url')}`,
  }
}
