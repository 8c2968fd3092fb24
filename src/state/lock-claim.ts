import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** A name for a claim that nobody else has, and that tells who to look for. */
export function claimName(): string {
  return `${place()}-${process.pid}-${randomBytes(6).toString('hex')}`
}

/**
 * Whether the process behind a claim is known to have ended. Only told of processes that we could see: the pid of one in
 * another container, or on another machine, means nothing here.
 */
export function isGone(name: string): boolean {
  const [where, pid] = name.split('-')
  if (where !== place()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

let ours: string | undefined

/** Where pids mean the same as here: this boot of this machine, and this container in it. */
function place(): string {
  return (ours ??= createHash('sha256').update(whereabouts()).digest('hex').slice(0, 12))
}

function whereabouts(): string {
  if (process.platform !== 'linux') return hostname()
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    return [hostname(), boot, readlinkSync('/proc/self/ns/pid')].join()
  } catch {
    return randomBytes(12).toString('hex')
  }
}
