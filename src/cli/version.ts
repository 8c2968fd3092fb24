import { createRequire } from 'node:module'

export const { version } = createRequire(import.meta.url)('codex-pool/package.json') as { version: string }
