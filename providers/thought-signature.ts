import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import { googleError } from './google-errors.js'
import { fields, list } from './json.js'

/** Google's own word for a signature that need not be checked (Gemini API, "Thought signatures"). */
const SKIP = 'skip_thought_signature_validator'

/** "Corrupted thought signature.", "Thought signature is not valid." */
const UNREADABLE = /thought[ _]?signature/i

/** Judges a refusal of what another account's model has signed; `withContents` gives the request another history. */
export function signatureVerdict(
  answer: UpstreamAnswer,
  contents: unknown,
  withContents: (contents: readonly unknown[]) => unknown,
): Verdict | undefined {
  if (answer.status !== 400 || !UNREADABLE.test(googleError(answer.json())?.message ?? '')) return undefined
  const replaced = withoutSignatures(contents)
  return replaced && { kind: 'repair', reason: 'thought_signature', body: withContents(replaced) }
}

/** `contents` with every thought signature replaced; `undefined` if there is none. */
function withoutSignatures(contents: unknown): readonly unknown[] | undefined {
  let changed = false
  const replaced = list(contents).map((content) => {
    const parts = list(fields(content)?.parts).map((part) => {
      if (typeof fields(part)?.thoughtSignature !== 'string') return part
      changed = true
      return { ...fields(part), thoughtSignature: SKIP }
    })
    return fields(content)?.parts === undefined ? content : { ...fields(content), parts }
  })
  return changed ? replaced : undefined
}
