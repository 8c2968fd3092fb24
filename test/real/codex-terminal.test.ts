import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { client } from './clients.js'
import { builtin, codex, conversations, readme, type Codex } from './codex.js'
import { scenario, type Stage } from './stage.js'
import { openTerminal } from './terminal.js'
import { until } from './until.js'

/** Requests cost nothing, so that the limits stay what they are. */
const used = (primary: number, secondary: number) => ({
  primary: { usedPercent: primary, percentPerRequest: 0 },
  secondary: { usedPercent: secondary, percentPerRequest: 0 },
})
const options = {
  codex: [
    { id: 'alice', ...used(20, 30) },
    { id: 'bob', ...used(60, 40) },
  ],
}

for (const [setUp, config] of [
  ['the set-up of the README', readme],
  ['its own provider', builtin],
] as const)
  scenario(
    `with ${setUp} the terminal client starts, shows the limits of the pool, and answers`,
    options,
    async (stage) => {
      const me = await codex(stage, config(stage.url))
      await quotasKnown(stage)
      const terminal = await openTerminal([client('codex'), '--no-daemon'], { ...me, folder: stage.folder })
      try {
        await terminal.see(/Ask Codex to do anything\s+GPT-\S+ default/)
        await terminal.enter('/status', /\/status +show current session/)
        const status = await terminal.see(/Weekly limit:.*left/)
        assert.match(status, /5h limit:.* 60% left \(resets /)
        assert.match(status, /Weekly limit:.* 65% left \(resets /)
        assert.match(status, /me@example\.com/)
        await terminal.enter('say hi', /› say hi/)
        await terminal.see(/Hello from the simulator\./)
        for (const limits of await recordedLimits(me)) assert.deepEqual(limits, [40, 35])
      } finally {
        await terminal.close()
      }
      // One of the person's, and one that the client begins by itself to find a title.
      for (const accounts of conversations(stage)) assert.equal(accounts.length, 1)
    },
  )

/** What the answers have told the client of its limits: used percent of the two windows, as its sessions record them. */
async function recordedLimits({ home }: Codex): Promise<unknown[]> {
  const read = async () => {
    const names = await readdir(join(home, 'sessions'), { recursive: true })
    const files = names.filter((name) => name.endsWith('.jsonl'))
    const texts = await Promise.all(files.map((name) => readFile(join(home, 'sessions', name), 'utf8')))
    const told = texts.flatMap((text) => [
      ...text.matchAll(
        /"rate_limits":\{[^}]*"primary":\{"used_percent":([\d.]+)[^]*?"secondary":\{"used_percent":([\d.]+)/g,
      ),
    ])
    return told.length > 0
      ? told.map(([, primary, secondary]) => [Number(primary), Number(secondary)])
      : undefined
  }
  return until(read, () => 'no session records any limits')
}

/** The gateway asks for its accounts' quotas by itself, soon after its start. */
async function quotasKnown({ gateway }: Stage): Promise<void> {
  const known = () => gateway.accounts().every(({ windows }) => windows.length === 2) || undefined
  await until(known, () => 'the gateway never asked for the quotas of its accounts')
}
