import type { ResolvedConfig } from '../../config/config.js'
import { localAddress } from '../../config/index.js'
import { readConfig } from '../settings.js'
import { printAsIs, refusal } from './output.js'
import { ownName } from './own-name.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'

type Access = ResolvedConfig['access']

/** `codex-pool clients`: the lines to paste, with each access key in them. */
export async function showClients(options: CommonOptions): Promise<void> {
  const { listen, access } = await readConfig(sourceOf(options))
  if (listen.socket !== undefined)
    throw refusal(
      'unreachable',
      'the pool listens on a Unix socket, which the clients cannot reach: put a proxy with a port before it',
    )
  const url = localAddress(listen)
  const keys = access === 'host-app' || !access.keys ? [] : Object.entries(access.keys)
  if (keys.length === 0) printAsIs(linesFor(url))
  for (const [name, key] of keys) printAsIs(`\n# ${name}${linesFor(`${url}/k/${encodeURIComponent(key)}`)}`)
}

/** The lines to paste, without any key: they are shown at every start, and a terminal is read by others. */
export function clientLines(url: string, access: Access): string {
  if (access === 'host-app' || !access.keys) return linesFor(url)
  return `\nAccess keys are set. The lines for each of them: ${ownName()} clients`
}

function linesFor(url: string): string {
  return `
Codex CLI: ${ownName()} setup codex writes its full configuration; or put above the first [table] of ~/.codex/config.toml

  model_provider = "codex-pool"
  chatgpt_base_url = "${url}/backend-api"

  [model_providers.codex-pool]
  name = "OpenAI via codex-pool"
  base_url = "${url}/v1"
  wire_api = "responses"
  requires_openai_auth = true

Gemini CLI: set in the shell

  export CODE_ASSIST_ENDPOINT=${url}
  export GOOGLE_GENAI_USE_GCA=true GOOGLE_CLOUD_ACCESS_TOKEN=unused
`
}

/** The hint for an empty pool. */
export function firstSteps(poolDir: string): string {
  return `
The pool is empty: there is no account in ${poolDir}

  Codex   log in once for each account:
            ${ownName()} login codex
          or copy the auth.json of a login there, under a name of your choice:
            cp ~/.codex/auth.json ${poolDir}/account1.json
  Gemini  the same with
            ${ownName()} login gemini
          or with oauth_creds.json, with the prefix gemini_:
            cp ~/.gemini/oauth_creds.json ${poolDir}/gemini_account1.json
          or an API key:
            (umask 077; echo '{ "api_key": "…" }' > ${poolDir}/gemini_key1.json)

A gateway that runs notices them by itself.
To see it work without any account: ${ownName()} --demo`
}
