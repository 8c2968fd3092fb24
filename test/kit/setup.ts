import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** An empty home folder; it is removed when the test ends. */
export class Home {
  private constructor(readonly path: string) {}

  static async create(t: TestContext, files: Readonly<Record<string, string>> = {}): Promise<Home> {
    const home = new Home(await realpath(await mkdtemp(join(tmpdir(), 'codex-pool-home-'))))
    t.after(() => rm(home.path, { recursive: true, force: true }))
    for (const [name, content] of Object.entries(files)) await home.write(name, content)
    return home
  }

  file(name: string): string {
    return join(this.path, name)
  }

  async write(name: string, content: string): Promise<void> {
    await mkdir(dirname(this.file(name)), { recursive: true })
    await writeFile(this.file(name), content)
  }

  read(name: string): Promise<string> {
    return readFile(this.file(name), 'utf8')
  }

  /** The names in a folder, sorted; none if there is no such folder. */
  async list(folder: string): Promise<string[]> {
    return (await readdir(this.file(folder)).catch(() => [])).sort()
  }

  /** `codex-pool setup …`, run in the folder `work`. */
  async setup(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    const cwd = this.file('work')
    await mkdir(cwd, { recursive: true })
    const main = join(import.meta.dirname, '../../src/cli/bin.js')
    const child = spawn(process.execPath, [main, 'setup', ...args], {
      cwd,
      env: { HOME: this.path, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const output = Promise.all([text(child.stdout), text(child.stderr)])
    const [code] = (await once(child, 'close')) as [number | null]
    const [stdout, stderr] = await output
    return { code, stdout, stderr }
  }
}
