/** Remembers refresh tokens that were presented, by fingerprint, over restarts. */
export interface SpentLogins {
  has(login: string): boolean
  add(login: string): void
}
