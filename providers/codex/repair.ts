import { fields, list } from '../json.js'
import type { OpenAiError } from '../openai-errors.js'

/** "The encrypted content gAAA… could not be verified", and the like. */
const UNREADABLE =
  /encrypted[ _]content.*(could not be|cannot be|failed to be|is not|not) (verified|decrypted|valid)/i

/** Whether the upstream cannot read reasoning that another account wrote. */
export function foreignReasoning({ code, type, message }: OpenAiError): boolean {
  return (
    code === 'invalid_encrypted_content' ||
    type === 'invalid_encrypted_content' ||
    UNREADABLE.test(message ?? '')
  )
}

/** The request without encrypted reasoning; `undefined` if there is none in it. What the model said stays. */
export function withoutReasoning(payload: unknown): object | undefined {
  const body = fields(payload)
  const input = list(body?.input)
  const kept = input.flatMap((item) => {
    const { encrypted_content, ...rest } = fields(item) ?? {}
    if (encrypted_content === undefined || encrypted_content === null) return [item]
    // An item of reasoning is nothing without its content; others keep what they have besides.
    return rest.type === 'reasoning' ? [] : [rest]
  })
  const changed = kept.length !== input.length || kept.some((item, index) => item !== input[index])
  return body && changed ? { ...body, input: kept } : undefined
}
