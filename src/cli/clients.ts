import type { ResolvedConfig } from '../../config/config.js'
import { localAddress } from '../../config/index.js'
import { readConfig } from '../config-source.js'
import { sourceOf, type CommonOptions } from './options.js'
import { print } from './print.js'

type Access = ResolvedConfig['access']

/** `codex-pool clients`: the lines to paste, with each access key in them. */
export async function showClients(options: CommonOptions): Promise<void> {
  const { listen, access } = await readConfig(sourceOf(options))
  const url = localAddress(listen)
  const keys = access === 'host-app' || !access.keys ? [] : Object.entries(access.keys)
  if (keys.length === 0) print(linesFor(url))
  for (const [name, key] of keys) print(`\n# ${name}${linesFor(`${url}/k/${encodeURIComponent(key)}`)}`)
}

/** The lines to paste, without any key: they are shown at every start, and a terminal is read by others. */
export function clientLines(url: string, access: Access): string {
  if (access === 'host-app' || !access.keys) return linesFor(url)
  return `\nAccess keys are set. The lines for each of them: codex-pool clients`
}

function linesFor(url: string): string {
  return `
Codex CLI: codex-pool setup codex writes its full configuration; or put above the first [table] of ~/.codex/config.toml

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
