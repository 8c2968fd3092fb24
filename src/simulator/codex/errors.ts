import { type Answer, json } from '../upstream.js'

const unauthorized = (code: string, message: string): Answer =>
  json(401, { error: { message, type: null, code, param: null }, status: 401 })

export const missingToken = json(401, { detail: 'Unauthorized' })
export const expired = unauthorized(
  'token_expired',
  'Provided authentication token is expired. Please try signing in again.',
)
export const unknownToken = unauthorized(
  'token_invalidated',
  'Your authentication token has been invalidated. Please try signing in again.',
)
export const foreignAccount = json(403, { detail: 'You are not a member of this workspace.' })

/** 400 in the form in which the ChatGPT backend refuses a request itself. */
export const badRequest = (detail: string): Answer => json(400, { detail })

/** 400 in the form of the OpenAI API. */
export const invalidRequest = (code: string, message: string): Answer =>
  json(400, { error: { message, type: 'invalid_request_error', param: null, code } })

/** Only the WebSocket on which a response was made knows its id, when nothing is stored. */
export const previousNotFound = (id: string): Answer =>
  json(400, {
    error: {
      message: `Previous response with id '${id}' not found.`,
      type: 'invalid_request_error',
      param: 'previous_response_id',
      code: 'previous_response_not_found',
    },
  })

/** Body of the 429 that ends a quota window. Times in ms since 1970. */
export function usageLimitBody(plan: string | undefined, resetsAt: number | undefined, now: number): object {
  const until = resetsAt === undefined ? {} : resetFields(resetsAt, now)
  return {
    error: {
      type: 'usage_limit_reached',
      message: 'The usage limit has been reached',
      ...(plan === undefined ? {} : { plan_type: plan }),
      ...until,
      eligible_promo: null,
    },
  }
}

function resetFields(resetsAt: number, now: number) {
  return {
    resets_at: Math.ceil(resetsAt / 1000),
    resets_in_seconds: Math.max(0, Math.ceil((resetsAt - now) / 1000)),
  }
}

/** The words with which the real upstream refuses encrypted content of another account. */
export type UnreadableWording = 'item' | 'content' | 'organization'

export function unreadable(wording: UnreadableWording, item: string, content: string): Answer {
  const shown = `${content.slice(0, 4)}...${content.slice(-4)}`
  const message = {
    item: `The encrypted content for item ${item} could not be verified.`,
    content: `The encrypted content ${shown} could not be verified. Reason: Encrypted content could not be decrypted or parsed.`,
    organization: 'Encrypted content organization_id did not match the target organization.',
  }[wording]
  return invalidRequest('invalid_encrypted_content', message)
}
