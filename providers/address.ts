/** Joins a base address and a path that begins with `/`, or nothing. */
export function join(base: string, path: string): string {
  return base.replace(/\/+$/, '') + path
}

/** The query of a URL with its `?`, or nothing. */
export function queryOf(url: string): string {
  const at = url.indexOf('?')
  return at < 0 ? '' : url.slice(at)
}

/**
 * A path as the upstream will understand it: no doubled slashes, and no letter in disguise, since `/ps/%6dcp` is
 * `/ps/mcp` (RFC 3986 §6.2.2.2) and would slip past a rule about that path.
 */
export function normalPath(path: string): string {
  const plain = path.replace(/%([2-7][0-9a-f])/gi, (coded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[\w.~-]/.test(character) ? character : coded
  })
  return plain.replace(/\/{2,}/g, '/')
}
