import { randomBytes, randomUUID } from 'node:crypto'
import { jwt } from '../json.js'

/** The client id of the Codex CLI, public in its source. */
export const CODEX_CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'

export interface CodexTokens {
  readonly id_token: string
  readonly access_token: string
  readonly refresh_token: string
}

export type TokenState = 'valid' | 'expired' | 'revoked'

/** The claims of a token. */
interface Subject {
  readonly id: string
  readonly accountId: string
  readonly userId: string
  readonly email: string
  readonly plan: string
  readonly clientId: string
}

/** The tokens that descend from one login. */
interface Login {
  tokens: CodexTokens
  revoked: boolean
}

/**
 * The logins of one account. A refresh token works once. A spent one that is presented again has been copied, so every
 * token of its login is revoked, the access tokens too.
 */
export class Logins {
  readonly #subject: Subject
  readonly #now: () => number
  readonly #access = new Map<string, { login: Login; expiresAt: number }>()
  readonly #refresh = new Map<string, { login: Login; spent: boolean }>()
  #current: Login

  constructor(subject: Subject, lifetimeMs: number, now: () => number) {
    this.#subject = subject
    this.#now = now
    this.#current = this.begin(lifetimeMs)
  }

  get tokens(): CodexTokens {
    return this.#current.tokens
  }

  /** Begins a login. The earlier ones live on. */
  begin(lifetimeMs: number): Login {
    const tokens = mintTokens(this.#subject, this.#now() + lifetimeMs, this.#now())
    this.#current = { tokens, revoked: false }
    this.#know(this.#current, tokens, lifetimeMs)
    return this.#current
  }

  /** `undefined` for a token of another account. */
  stateOf(accessToken: string): TokenState | undefined {
    const known = this.#access.get(accessToken)
    if (!known) return undefined
    if (known.login.revoked) return 'revoked'
    return this.#now() >= known.expiresAt ? 'expired' : 'valid'
  }

  /** Whether a refresh token, spent or not, is of this account. */
  owns(refreshToken: string): boolean {
    return this.#refresh.has(refreshToken)
  }

  /** The tokens for one of this account's refresh tokens. */
  refresh(refreshToken: string, lifetimeMs: number): CodexTokens | 'reused' | 'revoked' {
    const known = this.#refresh.get(refreshToken)
    if (!known) return 'revoked'
    const { login, spent } = known
    if (spent) login.revoked = true
    if (login.revoked) return spent ? 'reused' : 'revoked'
    known.spent = true
    login.tokens = mintTokens(this.#subject, this.#now() + lifetimeMs, this.#now())
    this.#know(login, login.tokens, lifetimeMs)
    return login.tokens
  }

  /** One more access token of the current login; the refresh token stays. */
  mintAccess(lifetimeMs: number): string {
    const { access_token } = mintTokens(this.#subject, this.#now() + lifetimeMs, this.#now())
    this.#access.set(access_token, { login: this.#current, expiresAt: this.#now() + lifetimeMs })
    return access_token
  }

  /** Ends every access token of the current login, whatever its `exp` says. */
  expireAccess(): void {
    for (const known of this.#access.values()) if (known.login === this.#current) known.expiresAt = 0
  }

  /** Revokes the current login. */
  revoke(): void {
    this.#current.revoked = true
  }

  #know(login: Login, { access_token, refresh_token }: CodexTokens, lifetimeMs: number): void {
    this.#access.set(access_token, { login, expiresAt: this.#now() + lifetimeMs })
    this.#refresh.set(refresh_token, { login, spent: false })
  }
}

/** New tokens with the claims that the Codex CLI reads. Times in ms since 1970. */
function mintTokens(subject: Subject, expiresAt: number, now: number): CodexTokens {
  const { id, userId, accountId, plan, email, clientId } = subject
  const claims = {
    iss: 'https://auth.openai.com',
    sub: userId,
    iat: Math.floor(now / 1000),
    exp: Math.floor(expiresAt / 1000),
    jti: randomUUID(),
    'https://api.openai.com/auth': {
      chatgpt_account_id: accountId,
      chatgpt_plan_type: plan,
      chatgpt_user_id: userId,
    },
  }
  return {
    id_token: jwt({ ...claims, aud: [clientId], email, email_verified: true }),
    access_token: jwt({ ...claims, aud: ['https://api.openai.com/v1'], client_id: clientId }),
    refresh_token: `rt_sim_${id}_${randomBytes(12).toString('base64url')}`,
  }
}
