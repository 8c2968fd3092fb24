import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { googleError, type GoogleError } from '../google-errors.js'
import { googleVerdict } from '../google-verdict.js'
import { fields } from '../json.js'
import { nextPacificMidnight } from '../pacific-midnight.js'
import { signatureVerdict } from '../thought-signature.js'
import { model } from './methods.js'

/** What is wrong with a key that no other request will get through with either. */
const DEAD: Readonly<Record<string, string>> = {
  API_KEY_INVALID: 'the API key is not valid or has expired',
  API_KEY_SERVICE_BLOCKED: 'the API key is restricted to other APIs',
  API_KEY_HTTP_REFERRER_BLOCKED: 'the API key is restricted to web pages',
  API_KEY_IP_ADDRESS_BLOCKED: 'the API key is restricted to other addresses',
  CONSUMER_SUSPENDED: 'the project of the API key is suspended',
  SERVICE_DISABLED: 'the Gemini API is not turned on in the project of the API key',
}

/** Judges an answer of the Gemini API. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  const { status } = answer
  if (status < 400) return { kind: 'pass' }
  const asked = model(request)
  if (status === 400 || status === 403) {
    const error = googleError(answer.json())
    const dead = error && whyDead(error)
    if (dead !== undefined) return { kind: 'needs-login', reason: `${dead}: put a good one into its file` }
    // Free keys are not served everywhere; a paid one may be.
    if (status === 400 && /location is not supported/i.test(error?.message ?? ''))
      return { kind: 'refused', reason: 'location_not_supported', model: asked }
  }
  const body = status === 400 ? fields(request.json()) : undefined
  const repair = signatureVerdict(answer, body?.contents, (contents) => ({ ...body, contents }))
  return repair ?? googleVerdict(answer, { model: asked, dayEnds: nextPacificMidnight(Date.now()) })
}

function whyDead({ reason, message }: GoogleError): string | undefined {
  if (reason !== undefined && reason in DEAD) return DEAD[reason]
  return /reported as leaked/i.test(message) ? 'the API key was reported as leaked' : undefined
}
