import { rmdirSync, rmSync } from 'node:fs'

const claims = new Map<string, string>()

/**
 * Sees to it that a process which ends in the ordinary way leaves no claim on a lock: the next one would wait until it
 * looks dead. Returns what takes that back.
 */
export function leaveNoClaim(claim: string, folder: string): () => void {
  if (claims.size === 0) process.once('exit', removeAll)
  claims.set(claim, folder)
  return () => {
    claims.delete(claim)
    if (claims.size === 0) process.off('exit', removeAll)
  }
}

function removeAll(): void {
  for (const [claim, folder] of claims) {
    try {
      rmSync(claim, { force: true })
      rmdirSync(folder)
    } catch {
      // Somebody else waits in the folder, or the disk refuses; the process ends in any case.
    }
  }
}
