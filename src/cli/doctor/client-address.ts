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

/** Whether a client asks the pool, and whether somebody answers there. At most one problem: one comes of another. */
export async function clientAddress(scene: Scene, asked: Asked): Promise<Problem[]> {
  const { client, code, base, upstream, setup, needsKey } = asked
  const { url, running, listener, name } = scene
  const problem = (
    kind: string,
    severity: Problem['severity'],
    what: string,
    why: string,
    command: string,
  ) => [{ code: `${code}_${kind}`, severity, what, why, command }]
  if (base === undefined)
    return problem(
      'past_pool',
      'warning',
      `${client} does not ask the pool`,
      `it asks ${upstream} with its own login, and stops at its limit`,
      setup,
    )
  if (!URL.canParse(base))
    return problem('address', 'error', `${client} asks "${base}", which is no address`, 'it fails', setup)
  if (isSamePlace(base, url)) {
    if (!running && listener === 'nothing')
      return problem(
        'gateway_stopped',
        'error',
        `${client} asks ${new URL(base).host}, where no gateway runs`,
        'it waits for the gateway, for minutes, before it says so',
        `${name} service install`,
      )
    return needsKey && lacksKey(scene, base)
      ? problem(
          'key',
          'error',
          `the address of ${client} holds no access key that this configuration knows`,
          'the gateway refuses its requests',
          setup,
        )
      : []
  }
  const { hostname, host } = new URL(base)
  // A pool on another machine is not looked at from here.
  if (!isLoopback(hostname)) {
    const isUpstream = /(^|\.)(chatgpt|openai|googleapis)\.com$/.test(hostname)
    const past = `${client} asks ${host}, past the pool`
    return isUpstream ? problem('past_pool', 'warning', past, 'it uses its own login alone', setup) : []
  }
  const there = await listenerAt(`http://${host}`)
  return problem(
    there === 'nothing' ? 'gateway_stopped' : 'other_address',
    'error',
    `${client} asks ${host}, and this pool is at ${new URL(url).host}`,
    there === 'nothing' ? 'nothing answers there' : 'another gateway or program answers there',
    setup,
  )
}

function lacksKey({ config: { access } }: Scene, base: string): boolean {
  if (access === 'host-app' || !access.keys) return false
  const key = /^\/k\/([^/]+)/.exec(new URL(base).pathname)?.[1]
  return key === undefined || !Object.values(access.keys).includes(decodeURIComponent(key))
}
