import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { defineConfig, loadConfig, type LoadOptions, type ResolvedConfig } from '../../config/index.js'

/** Makes a folder with these files, far from any node_modules; it goes when the test ends. */
export function folder(t: TestContext, files: Record<string, string>): string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'codex-pool-config-')))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
  }
  return root
}

/** Loads as the command line does, with nothing in the environment but what the test says. */
export function load(cwd: string, options: Partial<LoadOptions> = {}): Promise<ResolvedConfig> {
  return loadConfig({ cwd, env: {}, ownModules: { 'codex-pool': { defineConfig } }, ...options })
}
