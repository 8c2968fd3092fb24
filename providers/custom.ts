import type { CustomSettings } from '../config/config.js'
import type { Provider } from '../config/provider.js'
import { openAiExhausted, openAiFailure } from './openai.js'
import { openAiUsage, openAiUsageMarker } from './openai.js'
import { statusVerdict } from './http.js'

/** What every provider has that does not say otherwise: most APIs write usage and errors as OpenAI's do. */
const defaults = {
  path: ({ url, prefix }) => {
    const rest = url.slice(prefix.replace(/\/$/, '').length)
    return rest.startsWith('/') ? rest : `/${rest}`
  },
  classify: statusVerdict,
  usage: openAiUsage,
  usageMarker: openAiUsageMarker,
  exhausted: openAiExhausted,
  failure: openAiFailure,
} satisfies Partial<Provider>

/** A provider of the user's own: what it states, and the defaults for the rest. */
export function custom({ type: _type, proxy: _proxy, ...stated }: CustomSettings, name: string): Provider {
  const given = Object.fromEntries(Object.entries(stated).filter(([, value]) => value !== undefined))
  return { credentials: `${name}_*.json`, ...defaults, ...(given as typeof stated) }
}
