import type { GeminiApiKeySettings } from '../config/config.js'
import type { ClientRequest, Conversation, Credential, Inspection, Provider } from '../config/provider.js'
import { normalPath, queryOf } from './address.js'
import { fingerprint } from './fingerprint.js'
import { classify } from './gemini-api-key/verdict.js'
import { methodOf, model } from './gemini-api-key/methods.js'
import { geminiEvent, geminiUsage, geminiUsageMarker } from './gemini-stream.js'
import { googleExhausted, googleFailure } from './google-answers.js'
import { fitsHeader, header } from './header.js'
import { fields, list, text } from './json.js'

/** The Gemini API with API keys. */
export function geminiApiKey({ upstream }: Pick<Required<GeminiApiKeySettings>, 'upstream'>): Provider {
  return {
    upstream,
    credentials: 'gemini_*.json',
    inspect,
    authorize: ({ credential }) => ({
      'x-goog-api-key': String(credential.api_key),
      authorization: undefined,
    }),
    path: ({ path, url }) => normalPath(path) + queryOf(url),
    conversation,
    model,
    replayable: (request) => methodOf(request) !== undefined,
    classify,
    classifyEvent: (event, request) => geminiEvent(event, request && model(request)),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    exhausted: (exhaustion) => googleExhausted(exhaustion),
    failure: googleFailure,
  }
}

function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  const key = text(file?.api_key)
  if (key === undefined) return 'has no "api_key"; an API-key account is a file { "api_key": "…" }'
  if (!fitsHeader(key)) return 'its "api_key" holds a space, a line break or another character no key has'
  return { kind: 'api-key', label: text(file?.label) ?? 'API key' }
}

/**
 * This API knows no sessions, and sends the whole conversation each time: its beginning tells it from others. What is
 * no generation may be about files and caches that only one key's project has.
 */
function conversation(request: ClientRequest): Conversation | undefined {
  if (methodOf(request) === undefined) return { id: `caller:${request.client}` }
  const body = fields(request.json())
  const [first] = list(body?.contents)
  if (first === undefined) return undefined
  const person = header(request.headers, 'x-gemini-api-privileged-user-id')
  const system = body?.systemInstruction ?? body?.system_instruction
  return { id: fingerprint(JSON.stringify([person, system, first])) }
}
