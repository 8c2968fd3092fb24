import type { IncomingHttpHeaders } from 'node:http'

/** A header's value; the first one if the header came more than once. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  const first = Array.isArray(value) ? value[0] : value
  return first === undefined || first === '' ? undefined : first
}

/** Whether a value can stand in a header as it is. A token with a line break in it would throw at every request. */
export function fitsHeader(value: string): boolean {
  return /^[\x21-\x7e]+$/.test(value)
}
