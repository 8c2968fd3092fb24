import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { client, type Client } from './clients.js'
import { run, type Run } from './run.js'
import type { Stage } from './stage.js'

/** A person's Gemini CLI. */
export interface Gemini {
  readonly cwd: string
  /** `gemini` with these arguments. */
  run(...args: string[]): Promise<Run>
}

/** How the client is told to use the pool, and the credential of its own that it then has. */
export interface SetUp {
  readonly selectedType: string
  readonly env: Readonly<Record<string, string>>
  readonly secret: string
}

/** A token that is worth nothing: the client never checks it, and shows it to Google. */
export const tokenMode = (url: string): SetUp => ({
  selectedType: 'oauth-personal',
  env: {
    GOOGLE_GENAI_USE_GCA: 'true',
    GOOGLE_CLOUD_ACCESS_TOKEN: 'a-token-of-nobody',
    CODE_ASSIST_ENDPOINT: url,
  },
  secret: 'a-token-of-nobody',
})

export const apiKeyMode = (url: string): SetUp => ({
  selectedType: 'gemini-api-key',
  env: { GEMINI_API_KEY: 'a-key-of-nobody', GOOGLE_GEMINI_BASE_URL: url },
  secret: 'a-key-of-nobody',
})

export async function gemini(
  stage: Stage,
  { selectedType, env, secret }: SetUp,
  version: Client = 'gemini',
): Promise<Gemini> {
  const home = join(stage.folder, 'gemini')
  const cwd = join(home, 'work')
  const tmp = join(home, 'tmp')
  for (const folder of [join(home, '.gemini'), cwd, tmp]) await mkdir(folder, { recursive: true })
  const settings = {
    security: { auth: { selectedType }, folderTrust: { enabled: false } },
    general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
  }
  await writeFile(join(home, '.gemini', 'settings.json'), JSON.stringify(settings))
  stage.sim.forbid(secret)
  stage.promises.push(() => {
    for (const { body, path } of stage.sim.requests)
      assert.ok(!body.includes(secret), `${path}: the client's credential in the body`)
    const logins = stage.outside.asked.filter((asked) => /oauth2\.googleapis|accounts\.google/.test(asked))
    assert.deepEqual(logins, [], 'calls that refresh a login of the client')
  })
  const whole = {
    PATH: process.env.PATH ?? '',
    HOME: home,
    TMPDIR: tmp,
    TZ: 'UTC',
    // Or each run starts itself a second time, with more memory, which takes a third of the time.
    GEMINI_CLI_NO_RELAUNCH: 'true',
    ...stage.outside.env,
    ...env,
  }
  return {
    cwd,
    async run(...args) {
      const ended = await run(client(version), args, { cwd, env: whole })
      stage.runs.push(ended)
      return ended
    },
  }
}

/** The calls that make the model work on a prompt, in order. */
export const generations = ({ sim }: Stage) =>
  sim.requests.filter(({ path }) => path.endsWith(':streamGenerateContent'))
