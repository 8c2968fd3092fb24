import { readConfig } from '../settings.js'
import { createGateway } from '../create-gateway.js'
import { codeOf, makeFolder } from '../credentials/durable-file.js'
import type { Gateway } from '../gateway.js'
import { startServer, type RunningServer } from '../server.js'
import { clientLines } from './clients.js'
import { firstSteps } from './clients.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { print } from './output.js'

/** Answers that still run at a stop may end; after this they are cut. */
const GRACE_MS = 30_000

/** Runs the gateway until a signal ends it. */
export async function serve(options: CommonOptions): Promise<void> {
  // The first steps copy files there. Before it is watched, so that none of them is missed.
  const { poolDir } = await readConfig(sourceOf(options))
  const problem = await makeFolder(poolDir).then(() => undefined, codeOf)
  const gateway = await createGateway(options.config, { flags: sourceOf(options).flags })
  if (problem !== undefined) gateway.log.warn(`${poolDir} cannot be made (${problem})`)
  const server = await listen(gateway)
  if (gateway.accounts().length === 0) print(firstSteps(gateway.config.poolDir))
  if (gateway.config.listen.socket === undefined) print(clientLines(server.url, gateway.config.access))
}

/** Starts the server, says where (one line that programs can read), and stops it on a signal. */
export async function listen(gateway: Gateway): Promise<RunningServer> {
  const server = await startServer(gateway).catch(async (error: unknown) => {
    await gateway.close()
    throw error
  })
  print(`codex-pool listening on ${server.url}`)
  report(gateway)
  let stopping = false
  const stop = async (signal: NodeJS.Signals) => {
    // A second signal means that the user does not want to wait.
    if (stopping) process.exit(1)
    stopping = true
    gateway.log.info(`${signal}: no new requests; running ones may take ${GRACE_MS / 1000} s more`)
    await server.stop(GRACE_MS)
    await gateway.close()
    process.exit(0)
  }
  process.on('SIGTERM', stop).on('SIGINT', stop)
  // A terminal that is closed sends it to all its programs; the clients of this one may be elsewhere.
  process.on('SIGHUP', () => gateway.log.info('SIGHUP: the terminal is gone, the gateway goes on'))
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
