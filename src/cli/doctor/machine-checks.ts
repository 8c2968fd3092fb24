import { environmentProxy, Network } from '../../network.js'
import { version } from '../version.js'
import { type Check, type Problem, when } from './problem.js'
import type { Scene } from './scene.js'

export const oldNode: Check = ({ nodeVersion }) => {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  return when(major < 20 || (major === 20 && minor < 19), () => ({
    code: 'old_node',
    severity: 'error',
    what: `Node.js ${nodeVersion} is older than 20.19`,
    why: 'parts of the gateway do not load there',
    command: 'nvm install 24',
  }))
}

/** Another program listens on the port. */
export const takenPort: Check = ({ running, listener, config, name }) => {
  if (running || listener === 'nothing') return []
  const at = `${config.listen.host}:${config.listen.port}`
  const free = `${config.listen.host}:${config.listen.port + 1}`
  return [
    {
      code: listener === 'gateway' ? 'other_gateway' : 'taken_port',
      severity: 'error',
      what: `${listener === 'gateway' ? 'the gateway of another pool' : 'another program'} listens on ${at}`,
      why: 'a gateway of this pool cannot start there, and a client that asks there does not reach these accounts',
      command: `${name} --listen ${free}`,
    },
  ]
}

export const oldGateway: Check = ({ runningVersion, name }) =>
  when(runningVersion !== undefined && runningVersion !== version, () => ({
    code: 'old_gateway',
    severity: 'warning',
    what: `the running gateway is version ${runningVersion}, and this is ${version}`,
    why: 'what the new version mends is not mended until it runs',
    command: `${name} service install   (or stop the gateway, and start it anew)`,
  }))

/** Clients and the gateway's commands obey these variables for addresses of this machine too. */
export const divertingProxy: Check = ({ url }) =>
  when(environmentProxy(url) !== '' || environmentProxy(url.replace('http:', 'https:')) !== '', () => ({
    code: 'diverting_proxy',
    severity: 'error',
    what: `a proxy is set in the environment, and NO_PROXY does not name ${new URL(url).hostname}`,
    why: 'Gemini CLI and other clients ask the proxy for the pool, which it cannot reach',
    command: 'export NO_PROXY=127.0.0.1,localhost',
  }))

/** ms. Tokens and resets are told as times; issuers allow a few minutes. */
const SKEW = 5 * 60_000

/** A token that is issued in the future tells that this clock is behind. */
export const wrongClock: Check = ({ accounts, now }) => {
  const latest = Math.max(0, ...accounts.flatMap(({ credential }) => issueTimes(credential)))
  return when(latest > now + SKEW, () => clockProblem(latest - now))
}

const clockProblem = (skew: number): Problem => ({
  code: 'wrong_clock',
  severity: 'error',
  what: `the clock of this machine is ${Math.round(Math.abs(skew) / 60_000)} minutes ${skew > 0 ? 'behind' : 'ahead'}`,
  why: 'tokens look fresh or spent when they are not, and resets are awaited at the wrong time',
  command: process.platform === 'darwin' ? 'sudo sntp -sS time.apple.com' : 'sudo timedatectl set-ntp true',
})

/** When the tokens of a credential were issued; ms. */
function issueTimes(value: unknown): number[] {
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(issueTimes)
  const payload = typeof value === 'string' ? /^eyJ[\w-]+\.(eyJ[\w-]+)\./.exec(value)?.[1] : undefined
  if (payload === undefined) return []
  try {
    const { iat } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { iat?: unknown }
    return typeof iat === 'number' ? [iat * 1_000] : []
  } catch {
    return []
  }
}

const PATIENCE_MS = 10_000

/** `--online`: whether each upstream of an account answers, and what time it is there. */
export async function upstreams(scene: Scene): Promise<Problem[]> {
  const used = new Set(scene.accounts.map(({ provider }) => provider))
  const entries = Object.entries(scene.config.providers).filter(([name]) => used.has(name))
  const bases = entries.flatMap(([, entry]) =>
    Object.values(entry).flatMap((value) =>
      typeof value === 'string' && /^https?:/.test(value)
        ? [{ origin: new URL(value).origin, proxy: entry.proxy }]
        : [],
    ),
  )
  const network = new Network()
  const asked = new Map(bases.map((base) => [base.origin, base]))
  try {
    const found = [...asked.values()].map(async ({ origin, proxy }) => {
      if (origin === proxy) return []
      try {
        const signal = AbortSignal.timeout(PATIENCE_MS)
        const { headers } = await network.fetch(proxy)(origin, { method: 'HEAD', signal, redirect: 'manual' })
        const skew = Date.parse(headers.get('date') ?? '') - Date.now()
        return Math.abs(skew) > SKEW ? [clockProblem(skew)] : []
      } catch (error) {
        return [unreachable(origin, (error as Error).message)]
      }
    })
    const all = (await Promise.all(found)).flat()
    const clocks = all.filter(({ code }) => code === 'wrong_clock').slice(0, 1)
    return [...clocks, ...all.filter(({ code }) => code !== 'wrong_clock')]
  } finally {
    await network.close()
  }
}

const unreachable = (origin: string, reason: string): Problem => ({
  code: 'unreachable_upstream',
  severity: 'error',
  what: `${origin} does not answer: ${reason}`,
  why: 'no account behind it can serve',
  command: `curl -sv -o /dev/null ${origin}`,
})
