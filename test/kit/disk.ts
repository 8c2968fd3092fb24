import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** Why a test that mounts something cannot run here; `false` if it can. */
export const cannotMount: string | false =
  process.platform !== 'linux'
    ? 'mounts are made the way of Linux'
    : process.getuid?.() !== 0
      ? 'only root may mount'
      : refusal()

function refusal(): string | false {
  const dir = mkdtempSync(join(tmpdir(), 'codex-pool-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'none', dir], { stdio: 'ignore' })
    execFileSync('umount', [dir])
    return false
  } catch {
    return 'this machine lets nobody mount'
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const PAGE = 4096

/** A disk of 64 KiB of its own; it goes when the test ends. Ask for it before the pool that lies on it. */
export class SmallDisk {
  readonly dir = mkdtempSync(join(tmpdir(), 'codex-pool-disk-'))
  readonly #ballast = join(this.dir, 'ballast')

  constructor(t: TestContext) {
    mount(t, ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'none', this.dir], this.dir)
    t.after(() => rmSync(this.dir, { recursive: true, force: true }))
  }

  /** Leaves room for so many pages of 4 KiB. */
  fill(pages = 0): void {
    const file = openSync(this.#ballast, 'w')
    let size = 0
    try {
      for (;;) size += writeSync(file, Buffer.alloc(PAGE))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
    ftruncateSync(file, size - pages * PAGE)
    closeSync(file)
  }

  free(): void {
    rmSync(this.#ballast)
  }
}

/** Makes a folder read-only, for root too. @returns makes it writable again */
export function readOnly(t: TestContext, dir: string): () => void {
  mount(t, ['--bind', dir, dir], dir)
  const remount = (how: string) => execFileSync('mount', ['-o', `remount,bind,${how}`, dir])
  remount('ro')
  return () => remount('rw')
}

/** Puts a file over another, as containers do: it can be written, but nothing can be renamed over it. */
export function bindFile(t: TestContext, source: string, target: string): void {
  mount(t, ['--bind', source, target], target)
}

function mount(t: TestContext, args: string[], at: string): void {
  execFileSync('mount', args)
  // Lazily: what still watches the folder must not keep it. What was mounted inside goes along.
  t.after(() => void spawnSync('umount', ['-l', at]))
}

const NOBODY = 65534

/** An ordinary user, if root runs the test: root may do everything. Ask for it before the pool. */
export class OrdinaryUser {
  constructor(t: TestContext) {
    // Before the pool's own cleaning up.
    t.after(() => process.getuid!() === 0 && process.seteuid!(0))
  }

  /** From now on the process is this user, who owns `files` from now on. */
  become(files: readonly string[]): void {
    if (process.getuid!() !== 0) return
    for (const file of files) chownSync(file, NOBODY, NOBODY)
    process.seteuid!(NOBODY)
  }
}
