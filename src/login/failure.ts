/** A login that came to nothing. The message is for the person and holds nothing secret. */
export class LoginFailed extends Error {
  constructor(
    readonly code:
      'login_refused' | 'login_expired' | 'login_unanswered' | 'issuer_unreachable' | 'issuer_error',
    message: string,
  ) {
    super(message)
    this.name = 'LoginFailed'
  }
}

/** Why a call got no answer: `fetch failed` alone helps nobody. */
export function unreachable(url: string, error: unknown): LoginFailed {
  const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException }
  return new LoginFailed(
    'issuer_unreachable',
    `${new URL(url).origin} cannot be reached: ${cause?.code ?? message}`,
  )
}
