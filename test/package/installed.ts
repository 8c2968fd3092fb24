import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../kit/readme-blocks.js'

const run = promisify(execFile)

export interface Ran {
  readonly stdout: string
  readonly stderr: string
}

/** The packed product, installed in an empty folder. */
export class Installed {
  private constructor(
    readonly path: string,
    /** The file that `npm pack` made. */
    readonly tarball: string,
  ) {}

  /** Packs what is built and installs it. `npm run clean && npm run build` comes before, as before every `npm pack`. */
  static async create(): Promise<Installed> {
    const path = await mkdtemp(join(tmpdir(), 'codex-pool-package-'))
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', path]
    const { stdout } = await run('npm', pack, { cwd: root, env: environment() })
    const [packed] = JSON.parse(stdout) as [{ filename: string }]
    const installed = new Installed(path, join(path, packed.filename))
    await mkdir(join(path, 'app'))
    await writeFile(join(path, 'app/package.json'), JSON.stringify({ name: 'app', type: 'module' }))
    await installed.add(installed.tarball)
    return installed
  }

  /** The folder of the app that uses it. */
  get app(): string {
    return join(this.path, 'app')
  }

  /** Installs packages beside it; a bare name in the version that we use ourselves. */
  async add(...packages: string[]): Promise<void> {
    const { devDependencies, dependencies } = JSON.parse(
      await readFile(join(root, 'package.json'), 'utf8'),
    ) as Record<string, Record<string, string>>
    const versions = { ...devDependencies, ...dependencies }
    const exact = packages.map((name) => (name in versions ? `${name}@${versions[name]}` : name))
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--save-exact']
    await this.run('npm', 'install', ...quiet, ...exact)
  }

  run(program: string, ...args: string[]): Promise<Ran> {
    return run(program, args, { cwd: this.app, env: environment() })
  }

  async write(files: Record<string, string>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(this.app, name, '..'), { recursive: true })
      await writeFile(join(this.app, name), text)
    }
  }

  /** Bytes of all installed files, and how many packages they are. */
  async size(): Promise<{ bytes: number; packages: number }> {
    const folder = join(this.app, 'node_modules')
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const sizes = await Promise.all(
      entries.filter((entry) => entry.isFile()).map(async (file) => (await stat(pathOf(file))).size),
    )
    const lock = JSON.parse(await readFile(join(folder, '.package-lock.json'), 'utf8')) as {
      packages: object
    }
    return { bytes: sizes.reduce((sum, size) => sum + size, 0), packages: Object.keys(lock.packages).length }
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

const pathOf = (entry: { parentPath: string; name: string }): string => join(entry.parentPath, entry.name)

/** A test runner in there must not take itself for a part of this one, nor npm for a part of our `npm run`. */
export function environment(): NodeJS.ProcessEnv {
  const ours = /^(NODE_TEST_CONTEXT|INIT_CWD|npm_(lifecycle_|package_|command$|config_local_prefix$).*)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))
}
