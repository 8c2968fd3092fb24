import assert from 'node:assert/strict'
import type { ReplyItem } from '../../src/simulator/index.js'
import { readmeFile } from '../kit/readme-blocks.js'
import type { Client } from './clients.js'
import { codex } from './codex.js'
import { fourTurns, PROMPTS } from './conversation.js'
import { pools } from './pools.js'
import { scenario } from './stage.js'

const { options, limit } = pools['ChatGPT accounts']
const BUILT_IN = '~/.codex/config.toml'
const PROVIDER = '~/.codex/config.toml, as a provider'

/** How the model of each version runs a command. */
const shell: ReplyItem = { call: 'exec_command', arguments: { cmd: 'echo "a cloud"' } }
const script: ReplyItem = { custom: 'exec', input: 'text("a cloud")' }

const versions: { version: Client; form: string; tool: ReplyItem; more?: string }[] = [
  // Without this setting it asks chatgpt.com for its models, and again where that cannot be reached.
  { version: 'codex-0.100', form: PROVIDER, tool: shell, more: '[features]\nremote_models = false\n' },
  { version: 'codex-0.118', form: PROVIDER, tool: shell },
  { version: 'codex-0.118', form: BUILT_IN, tool: shell },
  { version: 'codex-0.147', form: PROVIDER, tool: script },
  { version: 'codex-0.147', form: BUILT_IN, tool: script },
  { version: 'codex', form: PROVIDER, tool: script },
  { version: 'codex', form: BUILT_IN, tool: script },
]

/** A failed call to the gateway, or to its MCP server, in the client's log. */
const TROUBLE = /codex_pool_error|request failed|codex_apps.*fail/i

for (const { version, form, tool, more = '' } of versions)
  scenario(`four turns of ${version} with the README's ${form}`, options, async (stage) => {
    const overSocket = form === BUILT_IN
    const check = fourTurns(stage, { tool, output: 'a cloud', limit: limit(), warmsUp: overSocket })
    const config = readmeFile(form).replaceAll('http://127.0.0.1:8989', stage.url)
    const me = await codex(stage, config + more, { version, env: { RUST_LOG: 'warn' } })
    const [first, ...others] = PROMPTS
    const ended = [await me.exec(first)]
    for (const prompt of others) ended.push(await me.exec('resume', '--last', prompt))
    check(ended.map(({ stdout }) => stdout))
    assert.equal(
      stage.sim.requests.some(({ status }) => status === 101),
      overSocket,
    )
    // The person's account is not in the pool, so there are no apps and plugins, and no word of them.
    const { host } = new URL(stage.url)
    for (const { stderr } of ended) {
      const lines = stderr.split('\n').filter((line) => line.includes(host) || TROUBLE.test(line))
      assert.deepEqual(lines, [])
    }
  })
