import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { conversationOf, createGateway, startServer } from '../../src/index.js'
import { answerParent } from './child.js'

/** Runs as a process of its own: `/kept` stays with the account that serves, `/moved` is refused by another one first. */
const [upstream = '', folder = ''] = process.argv.slice(2)
await writeFile(join(folder, 'bench_refuses.json'), '{"token":"refused"}', { mode: 0o600 })
await writeFile(join(folder, 'bench_serves.json'), '{"token":"good"}', { mode: 0o600 })

const gateway = await createGateway(
  {
    listen: '127.0.0.1:0',
    poolDir: folder,
    database: false,
    log: { level: 'silent' },
    providers: {
      bench: {
        type: 'custom',
        upstream,
        authorize: ({ credential }) => ({ authorization: `Bearer ${credential.token}` }),
        conversation: conversationOf,
      },
    },
    strategies: {
      serves: (accounts) => accounts.find(({ id }) => id.endsWith('serves')),
      refuses: (accounts) => accounts.find(({ id }) => id.endsWith('refuses')),
    },
    routes: [
      { path: '/kept', provider: 'bench', strategy: { sticky: 'serves' } },
      { path: '/moved', provider: 'bench', strategy: 'refuses' },
    ],
    builtinRoutes: false,
  },
  { env: {} },
)
const { url } = await startServer(gateway)
answerParent(url)
