import type { Scene } from './scene.js'

/** `error`: something does not work. `warning`: it works, but not as it should, or not for long. */
export type Severity = 'error' | 'warning'

export interface Problem {
  /** Stable, for programs. */
  readonly code: string
  readonly severity: Severity
  /** What is wrong, in one sentence. */
  readonly what: string
  /** What happens if it stays as it is. */
  readonly why: string
  /** The command that mends it. */
  readonly command: string
  /** Mends it without a risk. */
  readonly fix?: () => Promise<void>
}

/** Looks for one kind of trouble. */
export type Check = (scene: Scene) => readonly Problem[] | Promise<readonly Problem[]>

/** A problem if `applies`. */
export const when = (applies: unknown, problem: () => Problem): Problem[] => (applies ? [problem()] : [])
