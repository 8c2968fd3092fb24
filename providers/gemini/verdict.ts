import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { googleError, type GoogleError } from '../google/errors.js'
import { googleVerdict } from '../google/errors.js'
import { fields, text } from '../json.js'
import { signatureVerdict } from '../google/stream.js'
import { model } from './requests.js'
import { ineligible, validationNeeded } from './discover.js'

/** "You do not have a valid license of this product. … (#3501)", and how the retired client is told. */
const NOT_SERVED = /valid licen[cs]e|#3501|client is no longer supported/i

/** Judges an answer of Code Assist. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  if (answer.status < 400) return { kind: 'pass' }
  const error = answer.status === 403 ? googleError(answer.json()) : undefined
  const barred = error && whyBarred(error)
  if (barred !== undefined) return { kind: 'needs-login', reason: barred }
  return repairVerdict(answer, request) ?? googleVerdict(answer, { model: model(request) })
}

function repairVerdict(answer: UpstreamAnswer, request: ClientRequest): Verdict | undefined {
  if (answer.status !== 400) return undefined
  const body = fields(request.json())
  const inner = fields(body?.request)
  return signatureVerdict(answer, inner?.contents, (contents) => ({
    ...body,
    request: { ...inner, contents },
  }))
}

/** What is between the account and Code Assist that no other request will pass either. */
function whyBarred({ reason, message, link, metadata }: GoogleError): string | undefined {
  if (reason === 'VALIDATION_REQUIRED')
    return validationNeeded(link ?? text(metadata.validation_link)).message
  if (reason === 'TOS_VIOLATION') return 'Google has closed Code Assist to this account'
  return NOT_SERVED.test(message) ? ineligible([]).message : undefined
}
