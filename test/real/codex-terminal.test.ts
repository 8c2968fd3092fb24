import assert from 'node:assert/strict'
import { client } from './clients.js'
import { builtin, codex, conversations, readme } from './codex.js'
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
        // An answer tells limits too, and must not replace the pool's by those of the account that gave it.
        await terminal.enter('/status', /› \/status/)
        await terminal.see(/5h limit:.* 60% left[^]*Hello from[^]*5h limit:.* 60% left/)
      } finally {
        await terminal.close()
      }
      // One of the person's, and one that the client begins by itself to find a title.
      for (const accounts of conversations(stage)) assert.equal(accounts.length, 1)
    },
  )

/** The gateway asks for its accounts' quotas by itself, soon after its start. */
async function quotasKnown({ gateway }: Stage): Promise<void> {
  const known = () => gateway.accounts().every(({ windows }) => windows.length === 2) || undefined
  await until(known, () => 'the gateway never asked for the quotas of its accounts')
}
