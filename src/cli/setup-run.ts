import { readConfig } from '../config-source.js'
import { backupFile, carryOut, type Change } from '../setup/change.js'
import { lineDiff } from '../setup/line-diff.js'
import { type AddressOptions, isPrivateWay, type PoolAddress, poolAddress } from '../setup/pool-address.js'
import { redact } from '../setup/redact.js'
import { sourceOf, type CommonOptions } from './options.js'
import { print } from './print.js'

export interface SetupOptions extends CommonOptions, AddressOptions {
  print?: boolean
  undo?: boolean
}

/** Where the client shall go, and what is worth knowing about it. `mode`: of the file that the address goes into. */
export async function addressFor(
  options: SetupOptions,
  mode = 0o600,
): Promise<{ address: PoolAddress; notes: string[] }> {
  const address = poolAddress(await readConfig(sourceOf(options)), options)
  const notes: string[] = []
  if (address.key && (mode & 0o077) !== 0)
    notes.push(
      'the file holds an access key of the pool now, and others on this machine may read it: chmod 600',
    )
  if (!isPrivateWay(address.url))
    notes.push(`the way to ${address.url} is not encrypted, and the client sends its own login along`)
  return { address, notes }
}

/** Shows the changes or does them, and says what the person should know. */
export async function finish(
  changes: readonly Change[],
  notes: readonly string[],
  { print: show, undo }: SetupOptions,
): Promise<void> {
  for (const change of changes) {
    if (!show) await carryOut(change)
    print(show ? preview(change) : undo ? undone(change) : done(change))
  }
  for (const note of notes) print(`note: ${note}`)
  if (show) print('Nothing was written.')
  else if (!undo) print('To take it back, the same command with --undo.')
}

function preview({ file, before, after }: Change): string {
  if (before === after) return `${file}: nothing to change`
  if (after === undefined) return `${file}: would be removed, it was not there before`
  const lines = lineDiff(before ?? '', after).map((line) => line.replace(/(?<=^[-+] \d+: ).*/, redact))
  return [`${file}${before === undefined ? ' (new)' : ''}`, ...lines.map((line) => `  ${line}`)].join('\n')
}

function done({ file, before, after, backup }: Change): string {
  if (before === after) return `${file}: nothing to change`
  if (before === undefined) return `${file}: written`
  return backup === 'make' ? `${file}: changed; as it was: ${backupFile(file)}` : `${file}: changed`
}

function undone({ file, before, after, backup }: Change): string {
  if (before === after) return `${file}: nothing to take out`
  if (after === undefined) return `${file}: removed, it was not there before`
  if (backup === 'drop') return `${file}: taken back`
  return `${file}: taken back, and what else has changed since is kept. As it was before: ${backupFile(file)}`
}
