import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Environment } from '../../config/index.js'
import { type GeminiForm, shellSettings } from './gemini-env.js'
import { readJson } from './json.js'
import type { MarkedChange } from './marked-file.js'
import type { PoolAddress } from './pool-address.js'
import { proxyNote } from './proxy-note.js'
import { at } from './values.js'

export interface GeminiScene {
  readonly form: GeminiForm
  readonly address: PoolAddress
  readonly env: Environment
  /** Where the person is. */
  readonly cwd: string
  /** The folder above `.gemini`. */
  readonly home: string
}

/** What a person has to know to end up with a Gemini CLI that goes through the pool. In plain words, without a secret. */
export function geminiNotes(change: MarkedChange, settings: string, scene: GeminiScene): string[] {
  return [
    ...change.aside.map(
      ({ path, line }) => `line ${line}, ${path[0]}: set aside as a comment, for it said something else`,
    ),
    'Gemini CLI reads this file only in folders that you have trusted. In others it goes to Google itself: ' +
      'trust the folder when it asks, or export the lines in your shell',
    ...nearerNotes(scene),
    ...enforcedNotes(settings, scene.form),
    ...environmentNotes(scene),
  ]
}

/** Gemini CLI reads one `.env`: the first on the way up. */
function nearerNotes({ cwd, home }: GeminiScene): string[] {
  for (let folder = resolve(cwd); folder !== home && folder !== dirname(folder); folder = dirname(folder)) {
    const nearer = [join(folder, '.gemini', '.env'), join(folder, '.env')].find((file) => existsSync(file))
    if (nearer)
      return [
        `${nearer} hides this one: Gemini CLI reads the nearest only. Start it with --ignore-env in there`,
      ]
  }
  return []
}

function enforcedNotes(settings: string, form: GeminiForm): string[] {
  const reading = readJson(settings)
  const enforced = 'problem' in reading ? undefined : at(reading.values, ['security', 'auth', 'enforcedType'])
  const ours = form === 'login' ? 'oauth-personal' : 'gemini-api-key'
  if (enforced === undefined || enforced === ours) return []
  return [
    `security.auth.enforcedType allows only "${String(enforced)}": Gemini CLI will not start with "${ours}"`,
  ]
}

function environmentNotes({ form, address, env }: GeminiScene): string[] {
  const winners = shellSettings(form, address)
    .filter(([name, value]) => env[name] !== undefined && env[name] !== value)
    .map(
      ([name]) =>
        `${name} is set in your shell to something else, and the shell wins over the file: unset it`,
    )
  const proxy = proxyNote('Gemini CLI', address.url, ['HTTPS_PROXY', 'HTTP_PROXY'], env)
  return proxy === undefined ? winners : [...winners, proxy]
}
