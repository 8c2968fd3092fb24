import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Credential } from '../../config/provider.js'
import { writeCredential } from './credential-file.js'
import { lockCredential } from './credential-lock.js'

/**
 * Writes a credential into the pool, 0600 and durably. Under the lock of its file: a refresh of the old content that is
 * in flight would otherwise write its answer over the new one.
 */
export async function place(file: string, credential: Credential): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await underLock(file, () => writeCredential(file, credential))
}

/**
 * Deletes a credential file. `tell` runs before the lock is given back: a gateway that has not heard of it would renew
 * the login, and so write the file again.
 */
export async function takeAway(file: string, tell: () => Promise<void>): Promise<void> {
  await underLock(file, async () => {
    await rm(file)
    // A copy that a write in place has left.
    await rm(`${file}.recovery`, { force: true })
    await tell()
  })
}

async function underLock(file: string, work: () => Promise<unknown>): Promise<void> {
  const lock = await lockCredential(file, () => {})
  try {
    await work()
  } finally {
    await lock.release()
  }
}
