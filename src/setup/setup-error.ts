/** What keeps a set-up from being done. Nothing was changed; the message says what to do. */
export class SetupError extends Error {
  readonly code = 'setup_refused'
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SetupError'
  }
}

/** A file that does not take the change. */
export const refused = (file: string, problem: string): SetupError =>
  new SetupError(`${file} ${problem}. Nothing was changed`)
