import { defineConfig } from 'codex-pool'

// What a checkout runs with. Everything here is optional: with no file at all, Codex and Gemini are served from the
// accounts in ./pool. `codex-pool check` shows what comes of it.
export default defineConfig({
  listen: '127.0.0.1:8989',
  poolDir: './pool',
  database: './data/proxy.db',

  // A provider of your own. It waits until the pool has a file such as azure_work.json: { "key": "…" }
  providers: {
    azure: {
      type: 'custom',
      upstream: 'https://my-resource.openai.azure.com',
      credentials: 'azure_*.json',
      authorize: ({ credential }) => ({ 'api-key': credential.key }),
    },
  },

  // A strategy of your own: it is given the accounts that can serve now, and picks one.
  strategies: {
    'most-left': (accounts) => [...accounts].sort((a, b) => (a.usedPercent ?? 50) - (b.usedPercent ?? 50))[0],
  },

  retry: {
    patient: { attempts: 6, waitForCooldownMs: 10_000 },
  },

  // Yours come first; Codex's and Gemini's other paths follow by themselves.
  routes: [
    { path: '/v1', provider: 'codex', strategy: { sticky: 'most-left' }, retry: 'patient' },
    { path: '/azure', provider: 'azure', strategy: 'round-robin' },
  ],
})
