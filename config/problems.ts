/** Stable, for programs and for the manual. */
export type ProblemCode =
  | 'config_not_found'
  | 'config_unreadable'
  | 'config_syntax'
  | 'config_threw'
  | 'config_empty'
  | 'not_an_object'
  | 'unknown_key'
  | 'missing_key'
  | 'wrong_type'
  | 'bad_value'
  | 'out_of_range'
  | 'unknown_provider_type'
  | 'unknown_provider'
  | 'unknown_strategy'
  | 'unknown_retry'
  | 'shadows_builtin'
  | 'unreachable_route'
  | 'reserved_path'
  | 'bad_path'
  | 'bad_listen'
  | 'bad_address'
  | 'insecure_upstream'
  | 'credentials_in_address'
  | 'bad_host'
  | 'bad_origin'
  | 'bad_pattern'
  | 'bad_key'
  | 'duplicate_key'
  | 'access_required'
  | 'oauth_pair'

/** One thing that is wrong with a configuration. Holds no secret. */
export interface Problem {
  /** Where it was written: a file (`:line:column` if known), `environment`, `command line` or `config object`. */
  readonly file: string
  /** `routes[0].strategy`, a variable or a flag; empty if it is about the file as a whole. */
  readonly key: string
  /** The value as it may be shown: short, and `"***"` for what may be a secret. */
  readonly value?: string | undefined
  /** What is wrong and what is allowed; reads on from the value. */
  readonly message: string
  readonly code: ProblemCode
  /** What could stand there instead. */
  readonly choices?: readonly string[] | undefined
  /** The lines around a syntax error, string literals blanked out. */
  readonly frame?: string | undefined
}

/** Thrown when a configuration cannot be used. Carries every problem of it at once; its message is for people. */
/** What is wrong with one value, before anybody says where it stands. */
export type Fault = Pick<Problem, 'message' | 'code'>

export class ConfigError extends Error {
  readonly code = 'config_invalid'

  constructor(readonly problems: readonly Problem[]) {
    super(problems.map(describeProblem).join('\n'))
    this.name = 'ConfigError'
  }
}

function describeProblem({ file, key, value, message, code, frame }: Problem): string {
  const said = value === undefined ? message : `${value} ${message}`
  const line = key ? `${key}: ${said} (${file}) [${code}]` : `${file}: ${said} [${code}]`
  return frame ? `${line}\n${frame}` : line
}
