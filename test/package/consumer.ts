// A user's project. Compiled and run against the packed product, never as a part of ours.

/** Everything public that carries types of its own, in strict mode. */
export const types = `
import { createGateway, defineConfig, startServer, type Middleware, type Strategy } from 'codex-pool'
import { faults, startSimulator, type Simulator } from 'codex-pool/testing'

const first: Strategy = (accounts, { model }) => accounts.find(({ plan }) => plan === model) ?? accounts[0]
const logged: Middleware = (request, response, next) => {
  response.setHeader('x-seen', request.url ?? '')
  next()
}
const config = defineConfig({
  listen: '127.0.0.1:0',
  database: false,
  use: [logged],
  strategies: { first },
  providers: {
    mine: { type: 'custom', upstream: 'https://example.com', authorize: ({ credential }) => ({ 'x-key': credential.key }) },
  },
  routes: [{ path: '/mine', provider: 'mine', strategy: { sticky: 'first' } }],
})
// @ts-expect-error a provider that is not declared
defineConfig({ routes: [{ path: '/x', provider: 'nobody' }] })

export async function use(): Promise<string> {
  const simulator: Simulator = await startSimulator({ codex: [{ id: 'alice' }] })
  simulator.fail({ with: faults.usageLimit() })
  const gateway = await createGateway(config, { env: simulator.environment })
  gateway.on('attempt', ({ account, durationMs }) => console.log(account.toUpperCase(), durationMs.toFixed()))
  const used: number | null | undefined = gateway.accounts()[0]?.usedPercent
  const server = await startServer(gateway)
  // @ts-expect-error would be any if the types of Express were missing
  gateway.middleware.nothing
  return server.url + used
}
`

/** The same from CommonJS. */
export const commonJs = `
import pool = require('codex-pool')
import testing = require('codex-pool/testing')
export const config = pool.defineConfig({ database: false })
export const started: Promise<testing.Simulator> = testing.startSimulator()
`

/** With Express's types at hand: its handlers fit in \`use\`, and ours fit in its \`app.use\`. */
export const withExpress = `
import express, { type NextFunction, type Request, type Response } from 'express'
import { createGateway } from 'codex-pool'

const theirs = (request: Request, _response: Response, next: NextFunction) => {
  if (request.query['x'] !== undefined) next('route')
  else next()
}
export const gateway = await createGateway({ database: false, use: [theirs, express.json()] })
export const app = express().use('/ai', gateway.middleware).use(gateway.admin)
`

export const tsconfig = (include: string): string =>
  JSON.stringify({
    compilerOptions: {
      module: 'nodenext',
      target: 'es2022',
      strict: true,
      noEmit: true,
      // Our declarations are looked into, not only what the consumer uses of them.
      skipLibCheck: false,
      types: ['node'],
    },
    include: [include],
  })
