import { existsSync } from 'node:fs'
import { chmod, readFile, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { diffArrays } from 'diff'
import { makeFolder, writeDurably } from '../credentials/durable-file.js'

/** One file before and after a set-up or its undo. An empty text stands for a file that does not exist. */
export interface Change {
  readonly file: string
  readonly before: string
  readonly after: string
  /** The copy from before the set-up: written now, deleted now, or left as it is. */
  readonly copy: 'make' | 'drop' | 'keep'
}

export const setupRefused = (message: string): Error =>
  Object.assign(new Error(message), { code: 'setup_refused' })
export const refused = (file: string, problem: string): Error =>
  setupRefused(`${file} ${problem}. Nothing was changed`)

export const copyOf = (file: string): string => `${file}.before-codex-pool`

/** The text as it was before the set-up: empty if there was no file, `undefined` if no copy was made. */
export async function readCopy(file: string): Promise<string | undefined> {
  const { text, exists } = await readPersonal(copyOf(file))
  return exists ? text : undefined
}

/** A file of the user's own. A new one gets the mode 0600, since it may hold an access key. */
export async function readPersonal(file: string) {
  if (!existsSync(file)) return { text: '', bom: '', mode: 0o600, exists: false }
  const bytes = await readFile(file)
  const bom = bytes.indexOf('\uFEFF') === 0 ? '\uFEFF' : ''
  const text = bytes.toString().slice(bom.length)
  if (!Buffer.from(bom + text).equals(bytes)) throw refused(file, 'is not UTF-8 text')
  return { text, bom, mode: (await stat(file)).mode & 0o777, exists: true }
}

/** Writes the copy first, so that a crash in between loses nothing. */
export async function carryOut({ file, before, after, copy }: Change): Promise<void> {
  const { bom, mode } = await readPersonal(file)
  const write = async (target: string, text: string): Promise<void> => {
    await makeFolder(dirname(target))
    await writeDurably(target, text && bom + text)
    await chmod(target, mode)
  }
  if (copy === 'make') await write(copyOf(file), before)
  if (before !== after && after !== '') await write(file, after)
  if (before !== after && after === '') await rm(file)
  if (copy === 'drop') await rm(copyOf(file), { force: true })
}

/** The lines that differ with their numbers, `- ` before those that go and `+ ` before those that come. No secret. */
export function preview(before: string, after: string): string[] {
  const shown: string[] = []
  const number = { '-': 1, '+': 1 }
  for (const { added, removed, value } of diffArrays(linesOf(before), linesOf(after))) {
    if (added)
      shown.push(
        ...value.map((line) => `+ ${number['+']++}: ${OURS.test(line) ? withoutKey(line) : nameIn(line)}`),
      )
    else if (removed) shown.push(...value.map((line) => `- ${number['-']++}: ${nameIn(line)}`))
    else for (const side of ['-', '+'] as const) number[side] += value.length
  }
  return shown
}

const linesOf = (text: string): string[] => text.split(/\r?\n/).slice(0, /^$|\n$/.test(text) ? -1 : undefined)

/** A line that a set-up writes. The headers are left out: they hold an access key, and headers of the user's own. */
const OURS = /^(?!#|GEMINI_CLI_CUSTOM_HEADERS).* # codex-pool$/
const withoutKey = (line: string): string => line.replace(/(\/k\/)[^/"'\s]+/, '$1…')

const SELECTED_TYPE = /^[\s{]*(?:"(?:security|auth|selectedType)":[\s{]*)+(?:"[\w-]+")?[\s},]*$/
const NAME =
  /^\s*(?:# before codex-pool: *)?(?:\[[^=]*\]|(?:export\s+)?["']?[\w.-]+["']?\s*[=:]|[\s{}[\],]*$)?/

/** Of a line of the user's own its name: its value may be a secret, and other people may read the terminal as well. */
function nameIn(line: string): string {
  const name = NAME.exec(line)![0]
  return SELECTED_TYPE.test(line) || name === line ? line : `${name} …`
}
