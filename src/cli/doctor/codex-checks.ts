import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { formFor, installedCodex } from '../../setup/codex-version.js'
import { toml } from '../../setup/formats.js'
import { at } from '../../setup/marked-lines.js'
import { clientAddress } from './client-address.js'
import { type Check, type Problem, when } from './problem.js'
import { type Scene, textOf } from './scene.js'

/** Codex's file, and what it asks by it. */
interface Codex {
  readonly file: string
  readonly values: unknown
  readonly isBuiltin: boolean
  readonly base: string | undefined
  readonly backend: string | undefined
}

/** Settings that keep Codex CLI from using the pool; none if it is not installed. */
export const codexChecks: Check = async (scene) => {
  const { codexHome, name } = scene
  const file = join(codexHome, 'config.toml')
  if (!existsSync(file) && !existsSync(join(codexHome, 'auth.json'))) return []
  const content = toml.read(await textOf(file))
  if (typeof content === 'string')
    return [
      {
        code: 'codex_config',
        severity: 'error',
        what: `${file} ${content}`,
        why: 'Codex does not start with it',
        command: `$EDITOR ${file}`,
      },
    ]
  const codex = codexOf(file, content.values)
  const refusing = refusals(codex)
  if (refusing.length > 0) return refusing
  const address = await clientAddress(scene, {
    client: 'Codex',
    code: 'codex',
    base: codex.base,
    upstream: 'chatgpt.com',
    setup: `${name} setup codex`,
    needsKey: true,
  })
  if (address.length > 0) return address
  const traps = [backend, login, profiles, variable, servers, version].map((trap) => trap(codex, scene))
  return (await Promise.all(traps)).flat()
}

function codexOf(file: string, values: unknown): Codex {
  const text = (...path: string[]) => {
    const value = at(values, path)
    return typeof value === 'string' ? value : undefined
  }
  const provider = text('model_provider') ?? 'openai'
  const isBuiltin = provider === 'openai'
  const base = isBuiltin ? text('openai_base_url') : text('model_providers', provider, 'base_url')
  return { file, values, isBuiltin, base, backend: text('chatgpt_base_url') }
}

/** Settings with which Codex does not start. */
const refusals = ({ file, values }: Codex): Problem[] =>
  [
    { path: ['model_providers', 'openai'], said: '[model_providers.openai]' },
    { path: ['profile'], said: 'profile = …' },
  ].flatMap(({ path, said }) =>
    when(at(values, path) !== undefined, () => ({
      code: 'codex_config',
      severity: 'error' as const,
      what: `${file} holds ${said}`,
      why: 'Codex refuses to start with it',
      command: `$EDITOR ${file}   (take ${said} out)`,
    })),
  )

type Trap = (codex: Codex, scene: Scene) => readonly Problem[] | Promise<readonly Problem[]>

const backend: Trap = ({ base = '', backend: address, file }, { name }) => {
  const past = /\/backend-api\/codex\/?$/.test(base)
  return [
    ...when(past, () => ({
      code: 'codex_past_pool',
      severity: 'error' as const,
      what: `the base address in ${file} ends in /backend-api/codex`,
      why: 'Codex then asks chatgpt.com directly, past the pool',
      command: `${name} setup codex`,
    })),
    ...when(!past && address !== `${base.replace(/\/v1\/?$/, '')}/backend-api`, () => ({
      code: 'codex_backend',
      severity: 'warning' as const,
      what: `chatgpt_base_url in ${file} does not name the pool`,
      why: 'Codex asks chatgpt.com for limits and models, with its own login',
      command: `${name} setup codex`,
    })),
  ]
}

const login: Trap = ({ values, isBuiltin }, { codexHome, name }) => {
  const provider = String(at(values, ['model_provider']))
  const needs = isBuiltin || at(values, ['model_providers', provider, 'requires_openai_auth']) === true
  const kept = ['keyring', 'auto'].includes(String(at(values, ['cli_auth_credentials_store'])))
  return when(needs && !kept && !existsSync(join(codexHome, 'auth.json')), () => ({
    code: 'codex_login',
    severity: 'warning',
    what: `Codex has no login of its own in ${codexHome}`,
    why: 'its terminal asks to sign in before anything else; any login will do, and it never leaves the gateway',
    command: `${name} setup codex --no-login`,
  }))
}

const profiles: Trap = async (_codex, { codexHome }) => {
  const names = readdirSync(codexHome).filter((name) => /.\.config\.toml$/.test(name))
  const found = names.map(async (name) => {
    const file = join(codexHome, name)
    const content = toml.read(await textOf(file))
    const keys = ['model_provider', 'openai_base_url', 'chatgpt_base_url'].filter(
      (key) => typeof content === 'object' && at(content.values, [key]) !== undefined,
    )
    return when(keys.length > 0, () => ({
      code: 'codex_profile',
      severity: 'warning' as const,
      what: `the profile ${file} sets ${keys.join(' and ')}`,
      why: 'Codex with this profile may not ask the pool',
      command: `$EDITOR ${file}   (take ${keys.join(' and ')} out)`,
    }))
  })
  return (await Promise.all(found)).flat()
}

const variable: Trap = (_codex, { env }) =>
  when(env.OPENAI_BASE_URL, () => ({
    code: 'codex_variable',
    severity: 'warning',
    what: 'OPENAI_BASE_URL is set',
    why: 'Codex does not read it: only config.toml counts; other tools go where it says',
    command: 'unset OPENAI_BASE_URL',
  }))

/** The terminal interface of Codex leaves a server behind, which goes on with the settings that it has read. */
const servers: Trap = async ({ file }) => {
  const changed = (await stat(file)).mtimeMs
  const options = { env: { ...process.env, LC_ALL: 'C' }, maxBuffer: 16 * 1024 * 1024 }
  const { stdout } = await promisify(execFile)('ps', ['-x', '-o', 'lstart=', '-o', 'args='], options).catch(
    () => ({
      stdout: '',
    }),
  )
  const stale = stdout.split('\n').some((line) => {
    // Sat Nov 28 21:31:23 2026 codex app-server …
    const [, start = '', command = ''] = /^\s*(\w{3} +\w{3} +\d+ [\d:]{8} \d{4}) +(.*)$/.exec(line) ?? []
    const isServer = /(^|\/)codex(\.js)?\b/.test(command) && / app-server\b/.test(command)
    return isServer && Date.parse(start) + 1_000 < changed
  })
  return when(stale, () => ({
    code: 'codex_stale_server',
    severity: 'warning',
    what: 'a Codex app-server runs that was started before config.toml was changed',
    why: 'it goes on with the old settings, and new terminals use it',
    command: 'codex app-server daemon stop',
  }))
}

const version: Trap = async ({ isBuiltin }, { name }) => {
  const installed = isBuiltin ? await installedCodex() : undefined
  return when(installed !== undefined && formFor(installed).form === 'provider', () => ({
    code: 'codex_old_version',
    severity: 'error',
    what: `Codex ${installed} is older than this form of its configuration`,
    why: 'versions before 0.115 do not know openai_base_url, and ask chatgpt.com with their own login',
    command: `${name} setup codex`,
  }))
}
