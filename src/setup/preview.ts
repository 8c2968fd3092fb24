import { diffArrays } from 'diff'

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
