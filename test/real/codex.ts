import assert from 'node:assert/strict'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { startSimulator } from '../../src/simulator/index.js'
import { client, type Client } from './clients.js'
import { run, type Run } from './run.js'
import type { Stage } from './stage.js'

/** A person's Codex CLI, signed in with a ChatGPT account that is not in the pool. */
export interface Codex {
  readonly home: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** `codex exec`; what stands behind it are more arguments. */
  exec(...args: string[]): Promise<Run>
}

/** The set-up of the README: a provider of one's own. */
export const readme = (url: string): string => `model_provider = "codex-pool"
chatgpt_base_url = "${url}/backend-api"

[model_providers.codex-pool]
name = "OpenAI via codex-pool proxy"
base_url = "${url}/v1"
wire_api = "responses"
requires_openai_auth = true
`

/** The provider that Codex brings along, sent to the pool. */
export const builtin = (url: string): string => `openai_base_url = "${url}/v1"
chatgpt_base_url = "${url}/backend-api"
`

interface Person {
  /** @default 'me' */
  readonly name?: string
  /** @default 'free' */
  readonly plan?: string
  /** @default 'codex' */
  readonly version?: Client
  /** More variables for the client. */
  readonly env?: Readonly<Record<string, string>>
}

/** Signs a person in, and promises that the login is theirs alone and stays as it is. */
export async function codex(
  stage: Stage,
  config: string,
  { name = 'me', plan = 'free', version, env }: Person = {},
): Promise<Codex> {
  const me = await person(stage, config, { name, issuer: stage.outside.url, version, env })
  await signIn(stage, join(me.home, 'auth.json'), { name, plan })
  stage.promises.push(() => {
    // It also asks ab.chatgpt.com which experiments run.
    const logins = stage.outside.asked.filter((asked) => /auth/.test(asked))
    assert.deepEqual(logins, [], 'calls that refresh a login of the client')
  })
  return me
}

/** Somebody with a Codex CLI in `FOLDER/NAME`, not signed in, who refreshes logins at `issuer`. */
export async function person(
  stage: Stage,
  config: string,
  {
    name,
    issuer,
    version = 'codex',
    env: more,
  }: { name: string; issuer: string } & Pick<Person, 'version' | 'env'>,
): Promise<Codex> {
  const home = join(stage.folder, name, '.codex')
  const cwd = join(stage.folder, name, 'work')
  const tmp = join(stage.folder, name, 'tmp')
  const bin = join(stage.folder, name, 'bin')
  for (const folder of [home, cwd, tmp, bin]) await mkdir(folder, { recursive: true })
  await writeFile(join(home, 'config.toml'), config)
  await symlink(client(version), join(bin, 'codex'))
  const env = {
    PATH: [bin, process.env.PATH].join(delimiter),
    HOME: join(stage.folder, name),
    CODEX_HOME: home,
    TMPDIR: tmp,
    TZ: 'UTC',
    TERM: 'xterm-256color',
    CODEX_REFRESH_TOKEN_URL_OVERRIDE: `${issuer}/oauth/token`,
    ...stage.outside.env,
    ...more,
  }
  async function exec(...args: string[]): Promise<Run> {
    const all = ['exec', '--skip-git-repo-check', '-s', 'danger-full-access', ...args]
    const ended = await run(client(version), all, { cwd, env })
    stage.runs.push(ended)
    return ended
  }
  return { home, cwd, env, exec }
}

async function signIn(
  { sim, promises }: Stage,
  file: string,
  { name, plan }: { name: string; plan: string },
): Promise<void> {
  // Another ChatGPT, of which the pool's upstream knows nothing.
  const elsewhere = await startSimulator({ codex: [{ id: name, plan }] })
  await elsewhere.close()
  const login = elsewhere.account(name).authJson()
  const { id_token, access_token, refresh_token, account_id } = login.tokens
  const secrets = [id_token, access_token, refresh_token, account_id]
  for (const secret of secrets) sim.forbid(secret)
  const bytes = JSON.stringify(login)
  await writeFile(file, bytes, { mode: 0o600 })
  promises.push(async () => {
    assert.equal(await readFile(file, 'utf8'), bytes, `${name}'s own auth.json`)
    for (const { body, path } of sim.requests)
      assert.ok(!secrets.some((secret) => body.includes(secret)), `${path}: a token of ${name} in the body`)
  })
}

/** The calls that make the model work, in order. */
export const turns = ({ sim }: Stage) =>
  sim.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/codex/responses'))

/** The accounts that were asked for each conversation, in order; one that is asked again at once counts once. */
export function conversations(stage: Stage): string[][] {
  const found = new Map<unknown, string[]>()
  for (const { headers, account } of turns(stage)) {
    const accounts = found.get(headers['session-id']) ?? []
    found.set(headers['session-id'], accounts)
    if (account !== undefined && accounts.at(-1) !== account) accounts.push(account)
  }
  return [...found.values()]
}
