import { hidden, looksSecret } from './secrets.js'

/** `routes[0].strategy`, `strategies["my own"]`: where in the configuration something stands. */
export function keyOf(path: readonly (string | number)[]): string {
  return path.map(segment).join('').replace(/^\./, '')
}

function segment(name: string | number): string {
  if (typeof name === 'number' || /^\d+$/.test(name)) return `[${name}]`
  // A key written on the wrong side of the colon.
  if (looksSecret(name)) return `.${hidden}`
  return /^[\w-]+$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}
