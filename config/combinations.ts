import { defaults } from './defaults.js'
import { keyOf } from './key.js'
import { settle, type Layers } from './layers.js'
import { parseListen } from './listen.js'
import { isLoopback } from './loopback.js'
import type { Problem } from './problems.js'
import { isRecord, recordAt } from './record.js'
import { showValue } from './secrets.js'

/** Checks values that are fine alone and wrong together. Works on a configuration of any shape. */
export function checkCombinations(layers: Layers): Problem[] {
  return [...openToAll(layers), ...sameKey(layers), ...sizes(layers), ...halfClient(layers)]
}

/** Everybody in the network could spend the pool. */
function openToAll(layers: Layers): Problem[] {
  const { user } = layers
  const { file, key, value } = settle('listen', layers)
  const address = typeof value === 'string' ? parseListen(value) : undefined
  const decided =
    user['access'] === 'host-app' || (recordAt(user, 'access')['keys'] ?? undefined) !== undefined
  if (!address || isLoopback(address.host) || decided) return []
  const message =
    "is beyond loopback: give access.keys ({ laptop: '…' }, at least 16 characters each), or access.keys: false " +
    'if the network in front of it is trusted, or listen on 127.0.0.1'
  return [{ file, key, value: showValue(key, value), message, code: 'access_required' }]
}

/** Two people with one key cannot be told apart, nor can one of them be shut out. */
function sameKey({ user, file }: Layers): Problem[] {
  const keys = Object.entries(recordAt(recordAt(user, 'access'), 'keys'))
  return keys.flatMap(([name, value], index) => {
    const first = keys.slice(0, index).find(([, earlier]) => earlier === value)
    if (!first || typeof value !== 'string') return []
    const message = `has the same key as ${keyOf(['access', 'keys', first[0]])}`
    return { file, key: keyOf(['access', 'keys', name]), message, code: 'duplicate_key' as const }
  })
}

function sizes({ user, file }: Layers): Problem[] {
  const kept = user['maxReplayBytes']
  return (['maxReplayTotalBytes', 'maxBodyBytes'] as const).flatMap((limit) => {
    const most = user[limit] ?? defaults[limit]
    if (typeof kept !== 'number' || typeof most !== 'number' || kept <= most) return []
    const message = `is more than ${limit} (${most})`
    return { file, key: 'maxReplayBytes', value: String(kept), message, code: 'out_of_range' as const }
  })
}

/** Google refuses one client's id with another's secret, but only at the first refresh, an hour later. */
function halfClient({ user, overlay, file }: Layers): Problem[] {
  const inEnvironment = overlay.providers.gemini
  const entries: [string, unknown][] = Object.entries({
    gemini: { type: 'gemini' },
    ...recordAt(user, 'providers'),
  })
  return entries.flatMap(([name, entry]) => {
    if (!isRecord(entry) || entry['type'] !== 'gemini') return []
    const id = inEnvironment.oauthClientId ?? entry['oauthClientId']
    const secret = inEnvironment.oauthClientSecret ?? entry['oauthClientSecret']
    if ((id === undefined) === (secret === undefined)) return []
    const [given, missing] = id === undefined ? (['Secret', 'Id'] as const) : (['Id', 'Secret'] as const)
    const message = `needs its oauthClient${missing} (or GEMINI_OAUTH_CLIENT_${missing.toUpperCase()}): both or none`
    const place =
      inEnvironment[`oauthClient${given}`] === undefined
        ? { file, key: keyOf(['providers', name, `oauthClient${given}`]) }
        : { file: 'environment', key: `GEMINI_OAUTH_CLIENT_${given.toUpperCase()}` }
    return { ...place, message, code: 'oauth_pair' as const }
  })
}
