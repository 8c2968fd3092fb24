import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeFolder, writeDurably } from '../credentials/durable-file.js'
import { readConfig } from '../settings.js'
import { homeOf } from './home.js'
import { print, printAsIs, refusal } from './output.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'
import { launchdPlist, type Service, systemdUnit } from './service-files.js'

const LABEL = 'codex-pool'

/** A service manager: its file, and the commands that act on it. */
interface Manager {
  readonly file: string
  readonly text: (service: Service) => string
  readonly start: readonly (readonly string[])[]
  readonly stop: readonly (readonly string[])[]
  readonly status: readonly string[]
  readonly logs: readonly string[]
  readonly hint: string
}

function managerOf(platform: NodeJS.Platform): Manager {
  if (platform === 'linux') return systemd()
  if (platform === 'darwin') return launchd()
  throw refusal('no_service', `there is no service for ${platform}: run codex-pool by a means of your system`)
}

function systemd(): Manager {
  const systemctl = (...args: string[]) => ['systemctl', '--user', ...args]
  const config = process.env.XDG_CONFIG_HOME || join(homedir(), '.config')
  return {
    file: join(config, 'systemd', 'user', `${LABEL}.service`),
    text: systemdUnit,
    start: [systemctl('daemon-reload'), systemctl('enable', LABEL), systemctl('restart', LABEL)],
    stop: [systemctl('disable', '--now', LABEL)],
    status: systemctl('status', '--no-pager', LABEL),
    logs: ['journalctl', '--user', '--unit', LABEL, '--lines', '100', '--follow'],
    hint: 'It runs while you are logged in. To keep it running: loginctl enable-linger',
  }
}

function launchd(): Manager {
  const target = `gui/${process.getuid?.() ?? 0}`
  const file = join(homedir(), 'Library', 'LaunchAgents', `${LABEL}.plist`)
  const log = join(homedir(), 'Library', 'Logs', `${LABEL}.log`)
  return {
    file,
    text: (service) => launchdPlist(service, LABEL, log),
    start: [
      ['launchctl', 'bootstrap', target, file],
      ['launchctl', 'kickstart', '-k', `${target}/${LABEL}`],
    ],
    stop: [['launchctl', 'bootout', `${target}/${LABEL}`]],
    status: ['launchctl', 'print', `${target}/${LABEL}`],
    logs: ['tail', '-n', '100', '-F', log],
    hint: 'It starts when you log in.',
  }
}

/** `codex-pool service install` */
export async function install(options: CommonOptions, { print: show }: { print?: boolean }): Promise<void> {
  const manager = managerOf(process.platform)
  const text = manager.text(await serviceOf(options))
  if (show) return printAsIs(text)
  await makeFolder(dirname(manager.file))
  // It may hold a proxy with a password.
  await writeDurably(manager.file, text)
  print(`${manager.file}: written`)
  for (const command of manager.start) act(command)
  print(`The gateway runs. ${manager.hint}`)
}

/** `codex-pool service remove` */
export async function uninstall(): Promise<void> {
  const { file, stop } = managerOf(process.platform)
  if (!existsSync(file)) return print('there is no service')
  for (const command of stop) act(command)
  await rm(file)
  print(`${file}: removed, and the gateway is stopped`)
}

/** `codex-pool service status`, with the exit status of the service manager. */
export async function status(): Promise<void> {
  pass(managerOf(process.platform).status)
}

/** `codex-pool service logs` */
export async function logs(): Promise<void> {
  pass(managerOf(process.platform).logs)
}

/** Shell variables that the service needs too: the service manager does not read the shell's files. */
const INHERITED = [
  'PROXY_LISTEN_ADDR',
  'PROXY_MAX_ATTEMPTS',
  'PROXY_DISABLE_REFRESH',
  'CODEX_HOME',
  'HTTPS_PROXY',
  'https_proxy',
  'ALL_PROXY',
  'all_proxy',
  'NO_PROXY',
  'no_proxy',
]

/** This configuration, pool and program. */
async function serviceOf(options: CommonOptions): Promise<Service> {
  const entry = fileURLToPath(new URL('bin.js', import.meta.url))
  if (/[\\/]_npx[\\/]/.test(entry))
    throw refusal(
      'no_service',
      'npx keeps this program in a cache that npm clears: npm install --global it first',
    )
  const source = sourceOf(options)
  await readConfig(source)
  const home = homeOf(source.cwd, process.env).folder
  await makeFolder(home)
  const absolute = (path: string | undefined) => (path ? resolve(source.cwd, path) : undefined)
  const flags = {
    '--config': absolute(options.config),
    '--listen': options.listen,
    '--pool-dir': absolute(options.poolDir),
  }
  const variables = {
    CODEX_POOL_HOME: home,
    POOL_DIR: absolute(process.env.POOL_DIR),
    PROXY_DB_PATH: absolute(process.env.PROXY_DB_PATH),
    ...Object.fromEntries(INHERITED.map((name) => [name, process.env[name]])),
  }
  const set = (values: Readonly<Record<string, string | undefined>>) =>
    Object.entries(values).flatMap(([name, value]) => (value ? [[name, value] as const] : []))
  return {
    command: [process.execPath, entry, ...set(flags).flat()],
    folder: home,
    environment: Object.fromEntries(set(variables)),
  }
}

/** Runs a command of the service manager. @throws with what it says */
function act([program = '', ...args]: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return
  const said = (error?.message ?? stderr).trim() || `exit status ${status}`
  throw refusal('service_failed', `${[program, ...args].join(' ')}: ${said}`)
}

/** Runs a command in place of this one. */
function pass([program = '', ...args]: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit' })
  if (error) throw refusal('service_failed', `${program}: ${error.message}`)
  process.exitCode = status ?? 1
}
