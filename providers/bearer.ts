import type { BearerSettings } from '../config/provider-entry.js'
import type { Inspection, Provider } from '../config/provider.js'
import { conversationOf } from './conversation.js'
import { fitsHeader } from './http.js'
import { fields, text } from './json.js'
import { custom } from './custom.js'

/** Any upstream that takes `Authorization: Bearer`, with `{ "token": "…" }` files. */
export function bearer({ upstream, credentials, passHeaders }: BearerSettings, name: string): Provider {
  return custom(
    { type: 'custom', upstream, credentials, passHeaders, inspect, authorize, conversation: conversationOf },
    name,
  )
}

const authorize: Provider['authorize'] = ({ credential }) => ({ authorization: `Bearer ${credential.token}` })

function inspect(credential: unknown): Inspection | string {
  const token = text(fields(credential)?.token)
  if (token === undefined) return 'has no "token"; a bearer account is a file { "token": "…" }'
  return fitsHeader(token)
    ? { kind: 'token' }
    : 'its "token" holds a space, a line break or another character that no token has'
}
