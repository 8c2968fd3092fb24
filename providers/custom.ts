import type { CustomSettings } from '../config/provider-entry.js'
import { credentialsPattern } from '../config/index.js'
import type { Provider } from '../config/provider.js'
import { openingOf } from './history.js'
import { openAiExhausted, openAiFailure, openAiHeaders } from './openai.js'
import { openAiUsage, openAiUsageMarker } from './openai.js'
import { statusVerdict } from './http.js'

/** For members that a provider leaves out: most APIs write usage and errors as OpenAI's do. */
const defaults = {
  path: ({ url, prefix }) => {
    const rest = url.slice(prefix.replace(/\/$/, '').length)
    return rest.startsWith('/') ? rest : `/${rest}`
  },
  classify: statusVerdict,
  usage: openAiUsage,
  usageMarker: openAiUsageMarker,
  opening: openingOf,
  exhausted: openAiExhausted,
  failure: openAiFailure,
} satisfies Partial<Provider>

/**
 * A provider of the user's own: its members, and the defaults for those it leaves out. Members are read and called on the
 * object itself: it may be an instance of a class, and a copy has no methods, getters or private fields.
 */
export function custom(own: CustomSettings, name: string): Provider {
  const fallbacks = { ...defaults, credentials: credentialsPattern(name, own) }
  const passHeaders = [...openAiHeaders, ...(own.passHeaders ?? [])]
  return new Proxy({} as Provider, {
    get(_, key) {
      if (key === 'passHeaders') return passHeaders
      const value: unknown = Reflect.get(own, key)
      if (value === undefined) return Reflect.get(fallbacks, key) as unknown
      return typeof value === 'function' ? (value.bind(own) as unknown) : value
    },
  })
}
