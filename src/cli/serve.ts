import { createGateway } from '../create-gateway.js'
import { codeOf, makePrivateFolder } from '../credentials/durable-file.js'
import type { Gateway } from '../gateway.js'
import { startServer, type RunningServer } from '../server.js'
import { readConfig } from '../settings.js'
import { clientLines, firstSteps } from './clients.js'
import { homeOf, poolFrom } from './home.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { print } from './output.js'
import { forgetWhere, tellWhere } from './running.js'
import { version } from './version.js'

/** Answers that still run at a stop may end; after this they are cut. */
const GRACE_MS = 30_000

/** Runs the gateway until a signal ends it. */
export async function serve(options: CommonOptions): Promise<void> {
  // The first steps copy files there. Before it is watched, so that none of them is missed.
  const source = sourceOf(options)
  const config = await readConfig(source)
  const { poolDir } = config
  const problem = await makePrivateFolder(poolDir).then(() => undefined, codeOf)
  const { cwd, home, env, flags } = source
  const gateway = await createGateway(options.config, { cwd, home, env, flags })
  if (problem !== undefined) gateway.log.warn(`${poolDir} cannot be made (${problem})`)
  const server = await listen(gateway)
  print(`pool: ${poolDir} (from ${poolFrom(config, flags, env, homeOf(cwd, env))})`)
  if (gateway.accounts().length === 0) print(firstSteps(gateway.config.poolDir))
  if (gateway.config.listen.socket === undefined) print(clientLines(server.url, gateway.config.access))
}

/** Starts the server, says where (one line that programs can read), and stops it on a signal. */
export async function listen(gateway: Gateway): Promise<RunningServer> {
  // A terminal that is closed sends it to all its programs; the clients of this one may be elsewhere.
  process.on('SIGHUP', () => gateway.log.info('SIGHUP: the terminal is gone, the gateway goes on'))
  const server = await startServer(gateway).catch(async (error: unknown) => {
    await gateway.close()
    throw error
  })
  report(gateway)
  const { database } = gateway.config
  const { pid } = process
  await tellWhere(database, { address: server.url, pid, version }).catch((error: Error) =>
    gateway.log.warn(`commands find this gateway at its configured address only: ${error.message}`),
  )
  print(`codex-pool listening on ${server.url}`)
  let stopping = false
  const stop = async (signal: NodeJS.Signals) => {
    // A second signal means that the user does not want to wait.
    if (stopping) process.exit(1)
    stopping = true
    gateway.log.info(`${signal}: no new requests; running ones may take ${GRACE_MS / 1000} s more`)
    await server.stop(GRACE_MS)
    await forgetWhere(database)
    await gateway.close()
    process.exit(0)
  }
  process.on('SIGTERM', stop).on('SIGINT', stop)
  return server
}

function report(gateway: Gateway): void {
  const { log, config } = gateway
  const count = gateway.accounts().length
  log.info(
    `configuration: ${config.file ?? 'built-in defaults'}; pool: ${config.poolDir} (${count} accounts)`,
  )
  const { infos, warnings } = gateway.describe()
  for (const line of infos) log.info(line)
  for (const line of warnings) log.warn(line)
}
