import { execFile } from 'node:child_process'
import type { CodexForm } from './codex.js'

/** A version on the PATH answers in a fifth of a second. */
const PATIENCE_MS = 5000

/**
 * The version of the `codex` on the PATH, such as `0.169.0`; `undefined` if there is none, or if it does not tell its
 * version within five seconds.
 */
export function installedCodex(patienceMs = PATIENCE_MS): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: patienceMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 } as const
    const child = execFile('codex', ['--version'], options, (error, stdout) =>
      resolve(error ? undefined : /\d{1,9}\.\d{1,9}\.\d{1,9}[\w.-]*/.exec(stdout)?.[0]),
    )
    child.stdin?.on('error', () => {})
    child.stdin?.end()
  })
}

/**
 * Codex has the key `openai_base_url` since 0.115. An older one does not read it, and sends its requests and its login
 * to chatgpt.com, past the pool. 0.118 is the oldest version that our tests run with it.
 */
const BUILT_IN_SINCE = [0, 118] as const

const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < BUILT_IN_SINCE[0] || (major === BUILT_IN_SINCE[0] && minor < BUILT_IN_SINCE[1])
}

/** The form for a person who has not chosen one, and a sentence about the reason where there is something to say. */
export function formFor(version: string | undefined): { form: CodexForm; notes: string[] } {
  if (version === undefined)
    return {
      form: 'builtin',
      notes: [
        'the version of Codex is not known: no "codex" on the PATH has told it. These lines are for 0.118 and later. ' +
          'For an older one: codex-pool setup codex --provider',
      ],
    }
  if (!isOld(version)) return { form: 'builtin', notes: [] }
  return {
    form: 'provider',
    notes: [
      `Codex ${version} is installed, so this is the form as a provider: versions before 0.115 do not know ` +
        'openai_base_url, and ask chatgpt.com past the pool. With 0.118 or later, the same command writes the form ' +
        'that keeps WebSockets',
    ],
  }
}
