import { lstat } from 'node:fs/promises'
import { takeAway } from '../accounts/placement.js'
import { accountById, readPoolFolder } from './pool-folder.js'
import { tellGateway } from './tell-gateway.js'
import type { CommonOptions } from './options.js'
import { print } from './print.js'

/** `codex-pool remove ID`: deletes an account's credential file. */
export async function remove(options: CommonOptions, id: string): Promise<void> {
  const pool = await readPoolFolder(options)
  const { file, provider } = accountById(pool, id)
  const isLink = (await lstat(file)).isSymbolicLink()
  let told = ''
  await takeAway(file, async () => void (told = await tellGateway(pool.config)))
  print(
    `${id} (${provider}) left the pool: ${file} is deleted${isLink ? '; the file it pointed to is not' : ''}.`,
  )
  print(told)
}
