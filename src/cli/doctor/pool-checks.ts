import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { isFolder, usersHome } from '../home.js'
import { type Check, type Problem, when } from './problem.js'

const run = promisify(execFile)
const quoted = (path: string): string => (/^[\w./@+-]+$/.test(path) ? path : `'${path}'`)
const modeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ mode }) => mode & 0o777,
    () => 0,
  )
const credentialsIn = (folder: string): string[] =>
  isFolder(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : []

/** A working folder and the user's own home may each hold accounts: a command sees one of them only. */
export const twoPools: Check = ({ config, home, env, cwd }) => {
  const other = env.CODEX_POOL_HOME || usersHome()
  const otherPool = join(other, 'pool')
  const both = home.folder === cwd && otherPool !== config.poolDir && credentialsIn(otherPool).length > 0
  return when(both && credentialsIn(config.poolDir).length > 0, () => ({
    code: 'two_pools',
    severity: 'warning',
    what: `there are two pools: ${config.poolDir} (used in this folder) and ${otherPool} (used elsewhere)`,
    why: 'an account of one of them is missing in the other, and each gateway sees only its own',
    command: `mv ${quoted(join(config.poolDir, ''))}/*.json ${quoted(otherPool)}/`.replace('//', '/'),
  }))
}

/** Files that look like a configuration and are not read. */
export const ignoredConfig: Check = ({ home, cwd }) =>
  [...new Set([home.folder, cwd])].flatMap((folder) =>
    ['toml', 'jsonc', 'json5', 'ini'].flatMap((ending) => {
      const file = join(folder, `codex-pool.config.${ending}`)
      const taken = ending.startsWith('json') ? 'json' : 'yaml'
      return when(existsSync(file), () => ({
        code: 'ignored_config',
        severity: 'warning' as const,
        what: `${file} is not read: a configuration is .ts, .js, .json or .yaml`,
        why: 'the gateway runs with its defaults, without the access keys or accounts in that file',
        command: `mv ${quoted(file)} ${quoted(join(folder, `codex-pool.config.${taken}`))}   (and write it as ${taken.toUpperCase()})`,
      }))
    }),
  )

export const noAccount: Check = ({ accounts, skipped, config, name }) =>
  when(accounts.length === 0 && skipped.length === 0, () => ({
    code: 'no_account',
    severity: 'error',
    what: `there is no account in ${config.poolDir}`,
    why: 'no request can be served',
    command: `${name} login codex`,
  }))

export const unusableFiles: Check = ({ skipped, config, name }) =>
  skipped.map(({ file, reason }): Problem => {
    const shared = reason.includes('same login as')
    return {
      code: shared ? 'shared_login' : 'unusable_file',
      severity: 'warning',
      what: `${file}: ${reason}`,
      why: shared
        ? 'one login is one quota: the second file adds nothing'
        : 'no request goes to this account',
      command: shared
        ? `rm ${quoted(join(config.poolDir, file))}`
        : `${name} login ${file.startsWith('gemini') ? 'gemini' : 'codex'}`,
    }
  })

/** Two logins of one user in one workspace have one quota. */
export const sharedUser: Check = ({ accounts, name }) => {
  const known = new Map<string, string>()
  return accounts.flatMap(({ id, provider, inspection: { identity, workspace, label } }) => {
    if (identity === undefined) return []
    const owner = `${provider} ${identity} ${workspace} ${label}`
    const first = known.get(owner)
    known.set(owner, first ?? id)
    return when(first !== undefined, () => ({
      code: 'shared_login',
      severity: 'warning' as const,
      what: `${id} is of the same user and workspace as ${first}`,
      why: 'they share one quota: the second one adds nothing',
      command: `${name} remove ${id}`,
    }))
  })
}

export const endedLogins: Check = ({ accounts, running, now, name }) => {
  const dead = (running?.accounts ?? []).filter(({ state }) => state === 'needs-login')
  const ended = accounts.filter(
    ({ id, inspection: { expiresAt, refreshable } }) =>
      !refreshable && expiresAt !== undefined && expiresAt < now && !dead.some((one) => one.id === id),
  )
  return [...dead, ...ended].map(({ id, provider }) => ({
    code: 'needs_login',
    severity: 'error',
    what: `the login of ${id} is over`,
    why: 'no request goes to this account until it is logged in anew',
    command: `${name} login ${provider}`,
  }))
}

/** Other users of this machine could read a login, or put one of theirs in. */
export const openModes: Check = async ({ config, fileNames }) => {
  if (process.platform === 'win32') return []
  const data =
    config.database === false ? [] : [join(dirname(config.database), 'admin-token'), config.database]
  const files = fileNames.filter((name) => name.endsWith('.json')).map((name) => join(config.poolDir, name))
  const found = [config.poolDir, ...files, ...data].map(async (path) => {
    const isPool = path === config.poolDir
    const wanted = isPool ? 0o700 : 0o600
    const open = (await modeOf(path)) & (isPool ? 0o077 : 0o077)
    return when(open !== 0, () => ({
      code: 'open_mode',
      severity: 'warning' as const,
      what: `${path} is open to other users of this machine`,
      why: isPool ? 'they see which accounts there are' : 'they can read the login or the token in it',
      command: `chmod ${wanted.toString(8)} ${quoted(path)}`,
      fix: () => chmod(path, wanted),
    }))
  })
  return (await Promise.all(found)).flat()
}

/** `git add -A` would take the logins. */
export const gitTakesPool: Check = async ({ config: { poolDir } }) => {
  if (!isFolder(poolDir)) return []
  const code = await run('git', ['-C', poolDir, 'check-ignore', '-q', 'account.json']).then(
    () => 0,
    (error: { code?: unknown }) => error.code,
  )
  const file = join(poolDir, '.gitignore')
  // 1: in a repository, and not ignored. 128: in none.
  return when(code === 1, () => ({
    code: 'git_takes_pool',
    severity: 'warning',
    what: `${poolDir} is in a git repository that does not ignore it`,
    why: 'git add -A takes the logins, and a push publishes them',
    command: `echo '*' > ${quoted(file)}`,
    fix: () => writeFile(file, '*\n', { flag: 'wx' }),
  }))
}

/** Bytes. A refreshed login that cannot be written is lost; the state and the records of a month have some MB. */
const ROOM = 50 * 1024 * 1024

export const fullDisk: Check = async ({ config }) => {
  const folders = [config.poolDir, ...(config.database === false ? [] : [dirname(config.database)])]
  const found = folders.map(async (folder) => {
    const disk = await statfs(folder).catch(() => undefined)
    return when(disk && disk.bavail * disk.bsize < ROOM, () => ({
      code: 'full_disk',
      severity: 'error' as const,
      what: `the disk of ${folder} has less than 50 MB left`,
      why: 'a refreshed login that cannot be written is lost',
      command: `df -h ${quoted(folder)}`,
    }))
  })
  return (await Promise.all(found)).flat().slice(0, 1)
}
