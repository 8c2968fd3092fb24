import { isLoopback } from '../../../config/index.js'
import type { Problem } from './problem.js'
import { isSamePlace, listenerAt, type Scene } from './scene.js'

/** A client, and the address that it asks. */
interface Asked {
  readonly client: string
  /** Begins the codes of its problems. */
  readonly code: string
  readonly base: string | undefined
  /** Where it goes without an address of its own. */
  readonly upstream: string
  /** The command that points it here. */
  readonly setup: string
  /** Whether an access key stands in the path. */
  readonly needsKey: boolean
}

type Tell = (
  kind: string,
  severity: Problem['severity'],
  what: string,
  why: string,
  command: string,
) => Problem[]

/**
 * Whether a client asks the pool, and whether a gateway answers at that address. Tells one problem at most: the others
 * would follow from it.
 */
export async function clientAddress(scene: Scene, asked: Asked): Promise<Problem[]> {
  const { client, code, base, upstream, setup } = asked
  const tell: Tell = (kind, severity, what, why, command) => [
    { code: `${code}_${kind}`, severity, what, why, command },
  ]
  const ownLogin = `it asks ${upstream} with its own login, and stops at its limit`
  if (base === undefined)
    return tell('past_pool', 'warning', `${client} does not ask the pool`, ownLogin, setup)
  if (!URL.canParse(base))
    return tell('address', 'error', `${client} asks "${base}", which is no address`, 'it fails', setup)
  return isSamePlace(base, scene.url)
    ? atThePool(scene, asked, base, tell)
    : elsewhere(scene, asked, base, tell)
}

function atThePool(scene: Scene, { client, setup, needsKey }: Asked, base: string, tell: Tell): Problem[] {
  const { running, listener, name } = scene
  if (!running && listener === 'nothing')
    return tell(
      'gateway_stopped',
      'error',
      `${client} asks ${new URL(base).host}, where no gateway runs`,
      'it waits for the gateway, for minutes, before it says so',
      `${name} service install`,
    )
  if (!needsKey || !lacksKey(scene, base)) return []
  const what = `the address of ${client} holds no access key that this configuration knows`
  return tell('key', 'error', what, 'the gateway refuses its requests', setup)
}

async function elsewhere(
  { url }: Scene,
  { client, setup }: Asked,
  base: string,
  tell: Tell,
): Promise<Problem[]> {
  const { hostname, host } = new URL(base)
  // A pool on another machine is not looked at from here.
  if (!isLoopback(hostname)) {
    const isUpstream = /(^|\.)(chatgpt|openai|googleapis)\.com$/.test(hostname)
    const past = `${client} asks ${host}, past the pool`
    return isUpstream ? tell('past_pool', 'warning', past, 'it uses its own login alone', setup) : []
  }
  const isStopped = (await listenerAt(`http://${host}`)) === 'nothing'
  return tell(
    isStopped ? 'gateway_stopped' : 'other_address',
    'error',
    `${client} asks ${host}, and this pool is at ${new URL(url).host}`,
    isStopped ? 'nothing answers there' : 'another gateway or program answers there',
    setup,
  )
}

function lacksKey({ config: { access } }: Scene, base: string): boolean {
  if (access === 'host-app' || !access.keys) return false
  const key = /^\/k\/([^/]+)/.exec(new URL(base).pathname)?.[1]
  return key === undefined || !Object.values(access.keys).includes(decodeURIComponent(key))
}
