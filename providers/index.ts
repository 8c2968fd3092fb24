import type {
  CodexSettings,
  GeminiApiKeySettings,
  GeminiSettings,
  ProviderEntry,
  CommonFields,
} from '../config/provider-entry.js'
import type { Provider } from '../config/provider.js'
import { bearer } from './bearer.js'
import { codex } from './codex.js'
import { custom } from './custom.js'
import { gemini } from './gemini.js'
import { geminiApiKey } from './gemini-api-key.js'

type Entry<T extends ProviderEntry['type']> = Extract<ProviderEntry, { type: T }>

/** An entry as the config loader leaves it: every default is filled in. */
type Complete<E> = Required<Omit<E, CommonFields>>

const factories: { [T in ProviderEntry['type']]: (entry: Entry<T>, name: string) => Provider } = {
  codex: (entry) => codex(entry as Complete<CodexSettings>),
  gemini: (entry) => gemini(entry as Complete<GeminiSettings>),
  'gemini-api-key': (entry) => geminiApiKey(entry as Complete<GeminiApiKeySettings>),
  bearer,
  custom,
}

/** Makes the provider that a resolved entry describes. `name` is the one that routes use. */
export function createProvider(name: string, entry: ProviderEntry): Provider {
  const factory = factories[entry.type] as (entry: ProviderEntry, name: string) => Provider
  const provider = factory(entry, name)
  // The other two types take the setting as it is.
  if (entry.type === 'custom' || entry.type === 'bearer' || !entry.passHeaders) return provider
  return { ...provider, passHeaders: [...(provider.passHeaders ?? []), ...entry.passHeaders] }
}
