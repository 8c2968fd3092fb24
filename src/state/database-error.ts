export class DatabaseError extends Error {
  constructor(
    /**
     * - `database_foreign`: the file is not one of ours; it was left untouched.
     * - `database_unusable`: the system refused; `cause` says how.
     */
    readonly code: 'database_foreign' | 'database_unusable',
    readonly file: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'DatabaseError'
  }
}

const OTHER_PATH = 'Name another path by "database" or PROXY_DB_PATH'

export function foreign(file: string, what: string): DatabaseError {
  return new DatabaseError('database_foreign', file, `${file} ${what}; it was left untouched. ${OTHER_PATH}`)
}

export function unusable(file: string, cause: Error): DatabaseError {
  const message = `${file} cannot be opened: ${cause.message}. ${OTHER_PATH}, or keep state in memory with database: false`
  return new DatabaseError('database_unusable', file, message, { cause })
}
