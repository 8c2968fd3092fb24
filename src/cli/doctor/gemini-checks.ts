import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { dotenv } from '../../setup/formats.js'
import { jsonValue } from '../../setup/gemini.js'
import { isRecord } from '../../../config/index.js'
import { clientAddress } from './client-address.js'
import { type Check, type Problem, when } from './problem.js'
import { type Scene, textOf } from './scene.js'

type Values = Readonly<Record<string, string | undefined>>

/** Gemini CLI's settings: those of its file, over which the shell's variables go. */
interface Gemini {
  readonly file: string
  readonly inFile: Values
  readonly values: Values
  readonly isApiKey: boolean
  readonly selected: unknown
  readonly enforced: unknown
}

/** Settings that keep Gemini CLI from using the pool; none if it is not installed. */
export const geminiChecks: Check = async (scene) => {
  const { geminiFolder, env, name } = scene
  const settingsFile = join(geminiFolder, 'settings.json')
  if (!['.env', 'settings.json', 'oauth_creds.json'].some((file) => existsSync(join(geminiFolder, file))))
    return []
  const file = join(geminiFolder, '.env')
  const content = dotenv.read(await textOf(file))
  const inFile = (typeof content === 'string' ? {} : content.values) as Values
  const values = { ...inFile, ...env }
  const auth = authIn(settingsFile, await textOf(settingsFile))
  if ('severity' in auth) return [auth]
  const { selected, enforced } = auth
  const isApiKey = selected === 'gemini-api-key'
  const gemini: Gemini = { file, inFile, values, isApiKey, selected, enforced }
  const setup = `${name} setup gemini${isApiKey ? ' --api-key' : ''}`
  const address = await clientAddress(scene, {
    client: 'Gemini CLI',
    code: 'gemini',
    base: values[isApiKey ? 'GOOGLE_GEMINI_BASE_URL' : 'CODE_ASSIST_ENDPOINT'],
    upstream: 'Google',
    setup,
    needsKey: !values.GEMINI_CLI_CUSTOM_HEADERS?.includes('x-codex-pool-key'),
  })
  if (address.length > 0) return address
  return [leak, type, ownLogin, shell, nearer, trust].flatMap((trap) =>
    trap(gemini, { ...scene, name: setup }),
  )
}

/** What the settings say of the kind of login. */
function authIn(file: string, content: string): Pick<Gemini, 'selected' | 'enforced'> | Problem {
  const read = (key: string) => jsonValue(file, content || '{}', ['security', 'auth', key])
  try {
    return { selected: read('selectedType'), enforced: read('enforcedType') }
  } catch (error) {
    return {
      code: 'gemini_settings',
      severity: 'error',
      what: (error as Error).message.replace('. Nothing was changed', ''),
      why: 'Gemini CLI does not start with it',
      command: `$EDITOR ${file}`,
    }
  }
}

/** Looks for one kind of problem. `name` of the scene is the whole set-up command here. */
type Trap = (gemini: Gemini, scene: Scene) => readonly Problem[]

const leak: Trap = ({ values, inFile, file }) => {
  const token = values.GOOGLE_CLOUD_ACCESS_TOKEN
  const isInFile = inFile.GOOGLE_CLOUD_ACCESS_TOKEN === token
  return when(token && token !== 'unused', () => ({
    code: 'gemini_token_leaks',
    severity: 'error',
    what: 'GOOGLE_CLOUD_ACCESS_TOKEN holds something other than "unused"',
    why: 'Gemini CLI sends its value to Google, past the gateway',
    command: isInFile
      ? `sed -i 's/^GOOGLE_CLOUD_ACCESS_TOKEN=.*/GOOGLE_CLOUD_ACCESS_TOKEN=unused/' ${file}`
      : 'export GOOGLE_CLOUD_ACCESS_TOKEN=unused',
  }))
}

const type: Trap = ({ selected, enforced, isApiKey, values }, { name }) => {
  const wanted = isApiKey ? 'gemini-api-key' : 'oauth-personal'
  return [
    ...when(selected !== wanted, () => ({
      code: 'gemini_auth_type',
      severity: 'error' as const,
      what: `security.auth.selectedType in settings.json is ${selected === undefined ? 'not set' : `"${String(selected)}"`}`,
      why: 'Gemini CLI asks how to sign in, or stops with "Invalid auth method selected"',
      command: name,
    })),
    ...when(enforced !== undefined && enforced !== wanted, () => ({
      code: 'gemini_enforced_type',
      severity: 'error' as const,
      what: `security.auth.enforcedType allows only "${String(enforced)}"`,
      why: `Gemini CLI does not start with "${wanted}"`,
      command: `$EDITOR ~/.gemini/settings.json   (take enforcedType out)`,
    })),
    ...when(isApiKey && !values.GEMINI_API_KEY, () => ({
      code: 'gemini_api_key',
      severity: 'error' as const,
      what: 'GEMINI_API_KEY is not set',
      why: 'Gemini CLI wants one of any value before it asks the pool',
      command: name,
    })),
  ]
}

/** Without the token mode Gemini CLI signs in with its own login, and asks Google about it at each start. */
const ownLogin: Trap = ({ isApiKey, values }, { geminiFolder, name }) => {
  const isTokenMode = values.GOOGLE_GENAI_USE_GCA === 'true' && Boolean(values.GOOGLE_CLOUD_ACCESS_TOKEN)
  return when(!isApiKey && !isTokenMode && !existsSync(join(geminiFolder, 'oauth_creds.json')), () => ({
    code: 'gemini_login',
    severity: 'error',
    what: 'Gemini CLI is neither in token mode nor logged in',
    why: 'it stops with exit status 41 before it asks the pool',
    command: name,
  }))
}

/** The variables of a set-up. */
const OURS = ['CODE_ASSIST_ENDPOINT', 'GOOGLE_GEMINI_BASE_URL', 'GOOGLE_GENAI_USE_GCA']

const shell: Trap = ({ inFile }, { env }) =>
  OURS.flatMap((variable) =>
    when(inFile[variable] !== undefined && (env[variable] ?? inFile[variable]) !== inFile[variable], () => ({
      code: 'gemini_variable',
      severity: 'warning' as const,
      what: `${variable} is set in this shell to something else than in ~/.gemini/.env`,
      why: 'the shell wins: Gemini CLI goes elsewhere in other terminals',
      command: `unset ${variable}`,
    })),
  )

/** Gemini CLI reads one `.env`: the first on the way up from the working folder. */
const nearer: Trap = ({ file, inFile }, { cwd, env }) => {
  const home = dirname(dirname(file))
  const isShellEnough = OURS.every(
    (variable) => inFile[variable] === undefined || env[variable] !== undefined,
  )
  for (let folder = cwd; folder !== home && folder !== dirname(folder); folder = dirname(folder)) {
    const other = [join(folder, '.gemini', '.env'), join(folder, '.env')].find((one) => existsSync(one))
    if (other !== undefined)
      return when(!isShellEnough, () => ({
        code: 'gemini_nearer_env',
        severity: 'warning',
        what: `${other} hides ${file}`,
        why: 'Gemini CLI reads the nearest only: in this folder it asks Google itself',
        command: 'gemini --ignore-env',
      }))
  }
  return []
}

/** Gemini CLI reads its `.env` in trusted folders only, and `gemini -p` stops in the others. */
const trust: Trap = (_gemini, { cwd, env, geminiFolder }) => {
  if (env.GEMINI_CLI_TRUST_WORKSPACE === 'true') return []
  return when(!isTrusted(cwd, trustedFolders(join(geminiFolder, 'trustedFolders.json'))), () => ({
    code: 'gemini_untrusted',
    severity: 'warning',
    what: `Gemini CLI does not trust ${cwd}`,
    why: 'there it does not read ~/.gemini/.env, and gemini -p stops before it asks anything',
    command: 'export GEMINI_CLI_TRUST_WORKSPACE=true',
  }))
}

function trustedFolders(file: string): Record<string, unknown> {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return isRecord(read) ? read : {}
  } catch {
    return {}
  }
}

/** The longest rule that covers the folder decides. */
function isTrusted(folder: string, rules: Record<string, unknown>): boolean {
  const covers = Object.entries(rules)
    .map(([path, rule]) => ({ path: rule === 'TRUST_PARENT' ? dirname(path) : path, rule }))
    .filter(({ path }) => !relative(path, folder).startsWith('..'))
    .sort((a, b) => b.path.length - a.path.length)
  return covers[0] !== undefined && covers[0].rule !== 'DO_NOT_TRUST'
}
