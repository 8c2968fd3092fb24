import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { root } from './readme-blocks.js'

/** What `tsc` has made of the checkout; this file is a part of it. */
const built = resolve(import.meta.dirname, '../..')

const run = promisify(execFile)

/** A user's project that has codex-pool installed. */
export class ReadmeFolder {
  private constructor(readonly path: string) {}

  static async create(): Promise<ReadmeFolder> {
    const folder = new ReadmeFolder(await mkdtemp(join(tmpdir(), 'codex-pool-readme-')))
    await mkdir(join(folder.path, 'node_modules'))
    for (const name of ['@types', 'express', 'supertest'])
      await symlink(join(root, 'node_modules', name), join(folder.path, 'node_modules', name))
    await folder.#installOurselves()
    await folder.write({
      'package.json': JSON.stringify({ name: 'theirs', type: 'module' }),
      'tsconfig.json': JSON.stringify({
        compilerOptions: { module: 'nodenext', target: 'es2022', strict: true, types: ['node'] },
      }),
    })
    return folder
  }

  async #installOurselves(): Promise<void> {
    const folder = join(this.path, 'node_modules/codex-pool')
    await mkdir(folder)
    await symlink(built, join(folder, 'dist'))
    await writeFile(join(folder, 'package.json'), await readFile(join(root, 'package.json')))
  }

  async write(files: Record<string, string>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(this.path, name, '..'), { recursive: true })
      await writeFile(join(this.path, name), text)
    }
  }

  /** Compiles everything in it. @throws with what the compiler says */
  async compile(): Promise<void> {
    await this.node([join(root, 'node_modules/typescript/bin/tsc')]).catch((error: { stdout?: string }) => {
      throw new Error(error.stdout)
    })
  }

  /** Runs a program to its end. @throws if its status is not 0 */
  node(args: string[], env: Record<string, string> = {}): Promise<{ stdout: string; stderr: string }> {
    return run(process.execPath, args, { cwd: this.path, env: { ...environment(), ...env } })
  }

  codexPool(args: string[], env?: Record<string, string>): Promise<{ stdout: string; stderr: string }> {
    return this.node([join(built, 'src/cli/bin.js'), ...args], env)
  }

  /** Starts a program and waits for the first thing that it says. */
  async start(file: string, env: Record<string, string>): Promise<{ program: ChildProcess; said: string }> {
    const program = spawn(process.execPath, [file], {
      cwd: this.path,
      env: { ...environment(), ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(program, 'exit').then(([status]) => {
      throw new Error(`${file} ended with status ${status} before it said anything`)
    })
    const [said] = (await Promise.race([once(program.stdout, 'data'), ended])) as [Buffer]
    ended.catch(() => {})
    return { program, said: said.toString() }
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

/** Without the variable of the test runner: a runner that finds it runs no test and reports success. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return env
}
