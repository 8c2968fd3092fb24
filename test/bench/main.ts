import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.js'
import { send, type Load, type Timing } from './load.js'
import { table } from './table.js'

// Ratios within one run on one machine: absolute figures say more about the machine than about the gateway.
const short = process.argv.includes('--short')
const rounds = short ? 3 : 5
const scale = short ? 0.25 : 1
const loads: Load[] = [
  { name: 'JSON, 2 KB', path: 'json', bodyBytes: 2_000, requests: 600 * scale, width: 16 },
  { name: 'JSON, 1 MB', path: 'json', bodyBytes: 1_000_000, requests: 32 * scale, width: 4 },
  { name: 'stream, 100 events', path: 'stream', bodyBytes: 2_000, requests: 160 * scale, width: 16 },
  { name: 'stream, one at a time', path: 'stream', bodyBytes: 2_000, requests: 120 * scale, width: 1 },
]

const folder = await mkdtemp(join(tmpdir(), 'codex-pool-bench-'))
const upstream = await Child.start('upstream.js')
const plain = await Child.start('plain-proxy.js', upstream.url)
const gateway = await Child.start('gateway.js', upstream.url, folder)

interface Target {
  readonly name: string
  readonly base: string
  readonly child?: Child
  /** Whether its requests tell their session. @default true */
  readonly named?: boolean
}

const targets: Target[] = [
  { name: 'direct', base: upstream.url },
  { name: 'plain proxy', base: plain.url, child: plain },
  { name: 'gateway', base: `${gateway.url}/kept`, child: gateway },
  { name: 'gateway, no session name', base: `${gateway.url}/kept`, child: gateway, named: false },
  { name: 'gateway, one failover', base: `${gateway.url}/moved`, child: gateway },
]

interface Sample {
  readonly timings: Timing[]
  /** CPU of the process in the middle; ms a request. */
  readonly cpuMs: number | undefined
}

async function sample(load: Load, { base, child, named = true }: Target): Promise<Sample> {
  const before = await child?.cpuMs()
  const timings = await send(load, base, named)
  const after = await child?.cpuMs()
  const cpuMs = after === undefined || before === undefined ? undefined : (after - before) / timings.length
  return { timings, cpuMs }
}

/** One row for each target: medians over all rounds, in which the targets take turns. */
async function measure(load: Load) {
  const samples = targets.map((): Sample[] => [])
  for (const target of targets)
    await send({ ...load, requests: load.requests / 2 }, target.base, target.named ?? true)
  for (let round = 0; round < rounds; round++)
    for (const [index, target] of targets.entries()) samples[index]!.push(await sample(load, target))
  return targets.map(({ name }, index) => {
    const timings = samples[index]!.flatMap((one) => one.timings)
    return {
      name,
      firstByteMs: median(timings.map((timing) => timing.firstByteMs)),
      totalMs: median(timings.map((timing) => timing.totalMs)),
      cpuMs: median(samples[index]!.flatMap((one) => one.cpuMs ?? [])),
    }
  })
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}

for (const load of loads) {
  const rows = await measure(load)
  console.log(`\n${load.name}: ${load.requests * rounds} requests, ${load.width} at a time`)
  console.log(table(rows))
}
await Promise.all([gateway.end(), plain.end(), upstream.end()])
await rm(folder, { recursive: true })
