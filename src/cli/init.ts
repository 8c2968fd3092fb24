import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { readConfig } from '../settings.js'
import { add } from './add.js'
import { adminCall } from './admin-call.js'
import { askWhich, askYesNo, isAsked } from './ask.js'
import { login } from './login.js'
import { print, refusal } from './output.js'
import { ownName } from './own-name.js'
import { type CommonOptions, readPoolFolder, sourceOf } from './pool-folder.js'
import { install } from './service.js'
import { setupCodex, setupGemini } from './setup.js'

/** `new`: log in anew. `copy`: copy the client's own login. */
type Choice = 'new' | 'copy' | 'skip'

interface InitOptions {
  readonly codex?: string
  readonly gemini?: string
  readonly clients?: boolean
  readonly service?: boolean
}

interface Client {
  readonly provider: 'codex' | 'gemini'
  readonly title: string
  /** Its own login. */
  readonly file: string
  /** Points the client here, if one of these accounts can serve it. */
  readonly setup: (common: CommonOptions, providers: ReadonlySet<string>) => Promise<void>
}

const clients = (): Client[] => [
  {
    provider: 'codex',
    title: 'Codex CLI',
    file: join(process.env.CODEX_HOME || join(homedir(), '.codex'), 'auth.json'),
    setup: async (common, providers) => {
      if (providers.has('codex')) await setupCodex(common, {})
    },
  },
  {
    provider: 'gemini',
    title: 'Gemini CLI',
    file: join(process.env.GEMINI_CLI_HOME || homedir(), '.gemini', 'oauth_creds.json'),
    setup: async (common, providers) => {
      const [login, apiKey] = [providers.has('gemini'), providers.has('gemini-api-key')]
      if (login || apiKey) await setupGemini(common, { apiKey: !login })
    },
  },
]

/** `codex-pool init`: accounts, clients and service, in one go. Each question is a flag; without a terminal none is asked. */
export async function init(common: CommonOptions, options: InitOptions): Promise<void> {
  const present = clients().filter(
    ({ file, provider }) => existsSync(dirname(file)) || options[provider] !== undefined,
  )
  for (const client of present) await bringIn(client, common, await choiceFor(client, options))
  const { accounts, config } = await readPoolFolder(common)
  if (accounts.length === 0)
    throw refusal(
      'no_account',
      `there is no account in ${config.poolDir}: ${ownName()} init --codex new, or ${ownName()} add FILE`,
    )
  const pointed = options.clients ?? (!isAsked() || (await askYesNo('Point the clients to this pool?', true)))
  const providers = new Set(accounts.map(({ provider }) => provider))
  if (pointed) for (const { setup } of present) await setup(common, providers)
  const runs = (await adminCall(await readConfig(sourceOf(common)), 'GET', '/healthz')) !== undefined
  const served =
    options.service ?? (!runs && isAsked() && (await askYesNo('Run the gateway as a service?', true)))
  if (served) await install(common, {})
  print(runs || served ? 'You can work now.' : `You can work now, once the gateway runs: ${ownName()}`)
}

async function choiceFor({ provider, title, file }: Client, options: InitOptions): Promise<Choice> {
  const given = options[provider]
  if (given === 'new' || given === 'copy' || given === 'skip') return given
  const isThere = existsSync(file)
  if (!isAsked()) return isThere ? 'copy' : 'skip'
  const own = 'log in anew, for the pool alone (safer: nothing else uses that login)'
  const copy = `copy ${file} (at once; on this machine the gateway keeps both together)`
  const choices = { new: own, ...(isThere && { copy }), skip: 'no account for it now' }
  return (await askWhich(`An account for ${title}`, choices)) as Choice
}

async function bringIn(
  { provider, title, file }: Client,
  common: CommonOptions,
  choice: Choice,
): Promise<void> {
  if (choice === 'skip') return
  if (choice === 'new') return login(common, provider, {})
  if (!existsSync(file)) throw refusal('no_login', `${title} has no login: ${file} is not there`)
  await add(common, file, {}).catch((error: Error & { code?: string }) => {
    if (error.code !== 'duplicate_account') throw error
    print(`${file} is in the pool already`)
  })
}
