import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Where the command line finds the admin token of the gateway that uses `database`. */
export function adminTokenFile(database: string): string {
  return join(dirname(database), 'admin-token')
}

/** The token that opens what changes accounts; made at the first start, 0600. Without a database it is in memory only. */
export async function openAdminToken(database: string | false): Promise<string> {
  const fresh = randomBytes(24).toString('base64url')
  if (database === false) return fresh
  const file = adminTokenFile(database)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  try {
    await writeFile(file, `${fresh}\n`, { mode: 0o600, flag: 'wx' })
    return fresh
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await readFile(file, 'utf8')).trim()
  }
}
