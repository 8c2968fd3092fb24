import { type PersonalFile, readPersonal, removePersonal, writePersonal } from './personal-file.js'

/** What is to become of a file. */
export interface Change {
  readonly file: string
  /** `undefined`: there is none. */
  readonly before: string | undefined
  /** `undefined`: there shall be none. */
  readonly after: string | undefined
  /** What becomes of the copy from before the set-up. */
  readonly backup: 'make' | 'drop' | 'leave'
}

/** A new file may hold an access key of the pool. */
const PRIVATE = 0o600

export const backupFile = (file: string): string => `${file}.before-codex-pool`

/** The file as it was before the set-up; `undefined` if no copy was made. */
export type Backup = { readonly text: string | undefined } | undefined

/** A copy without a byte in it says that there was no file. */
export async function readBackup(file: string): Promise<Backup> {
  const copy = await readPersonal(backupFile(file))
  return copy && { text: copy.text === '' ? undefined : copy.text }
}

/** Does it, the copy first. A change that changes nothing leaves the disk alone. */
export async function carryOut({ file, before, after, backup }: Change): Promise<void> {
  if (before !== after) {
    const present = await readPersonal(file)
    if (backup === 'make') await makeBackup(file, present)
    if (after === undefined) await removePersonal(file)
    else await writePersonal(file, { text: after, mode: present?.mode ?? PRIVATE })
  }
  if (backup === 'drop') await removePersonal(backupFile(file))
}

async function makeBackup(file: string, present: PersonalFile | undefined): Promise<void> {
  // An empty file needs no copy, and would look like none.
  if (present?.text === '') return removePersonal(backupFile(file))
  await writePersonal(backupFile(file), present ?? { text: '', mode: PRIVATE })
}
