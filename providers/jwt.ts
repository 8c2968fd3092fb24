import { fields, number, parseJson, text, type Fields } from './json.js'

/** The claims of a JWT. Its signature is not checked: who issued it is the upstream's business. */
export function jwtClaims(token: unknown): Fields | undefined {
  const payload = text(token)?.split('.')[1]
  return payload === undefined ? undefined : fields(parseJson(Buffer.from(payload, 'base64url').toString()))
}

/** When a JWT ends; ms since 1970. `undefined` for an opaque token. */
export function jwtExpiry(token: unknown): number | undefined {
  const seconds = number(jwtClaims(token)?.exp)
  return seconds === undefined ? undefined : seconds * 1000
}
