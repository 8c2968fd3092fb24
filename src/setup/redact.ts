/** What these hold is no secret, but for a key in an address. */
const SHOWN = new Set([
  'model_provider',
  'openai_base_url',
  'chatgpt_base_url',
  'name',
  'base_url',
  'wire_api',
  'requires_openai_auth',
  'CODE_ASSIST_ENDPOINT',
  'GOOGLE_GENAI_USE_GCA',
  'GOOGLE_GEMINI_BASE_URL',
  'security',
  'auth',
  'selectedType',
])
const ENTRY = /^(\s*(?:# before codex-pool: *)?(?:export\s+)?["']?([\w.-]+)["']?\s*[=:]\s*)(.*)$/
// Brackets, and the head of a table.
const STRUCTURE = /^\s*(?:# before codex-pool: *)?(?:[\s{}[\],]*|\[[^=]*\](?:\s*#.*)?)$/

/**
 * A line of a settings file as a terminal may show it, which others read along. Of what the person keeps in it only
 * what is known to be harmless is shown.
 */
export function redact(line: string): string {
  const [, head = '', name = '', value = ''] = ENTRY.exec(line) ?? []
  if (head === '') return STRUCTURE.test(line) ? line : '…'
  if (value === 'unused # codex-pool') return line
  return head + (SHOWN.has(name) ? withoutKey(value) : '…')
}

const withoutKey = (value: string): string =>
  value.replace(/(\/k\/)[^/"'\s]+/g, '$1…').replace(/(:\/\/)[^/\s]*@/g, '$1…@')
