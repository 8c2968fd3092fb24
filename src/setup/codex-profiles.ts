import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readPersonal } from './personal-file.js'
import { toml } from './toml.js'
import { at } from './values.js'

const DECISIVE = ['model_provider', 'openai_base_url', 'chatgpt_base_url']

/** Names the profiles that lead past the pool: `NAME.config.toml` beside the file, and tables of older Codex in it. */
export async function codexProfiles(folder: string, values: unknown): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  const files = names.filter((name) => name.endsWith('.config.toml')).sort()
  const notes: string[] = []
  for (const name of files)
    notes.push(...noteOf(name.slice(0, -'.config.toml'.length), name, await valuesOf(join(folder, name))))
  const tables = Object.entries(at(values, ['profiles']) ?? {})
  return [...notes, ...tables.flatMap(([name, table]) => noteOf(name, `[profiles.${name}]`, table))]
}

function noteOf(profile: string, place: string, values: unknown): string[] {
  const keys = DECISIVE.filter((key) => at(values, [key]) !== undefined)
  if (keys.length === 0) return []
  return [`codex --profile ${profile} may not ask the pool: ${place} sets ${keys.join(' and ')}`]
}

async function valuesOf(file: string): Promise<unknown> {
  const reading = toml.read((await readPersonal(file).catch(() => undefined))?.text ?? '')
  return 'problem' in reading ? undefined : reading.values
}
