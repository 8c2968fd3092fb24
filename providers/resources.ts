import { type Fields, fields } from './json.js'

/** Upper bounds for the search through one JSON value: no real request or answer has as many values that name things. */
const MOST_VALUES = 100_000
const DEEPEST = 16

export interface Finding {
  /** The name of a thing in a text, if it has one; `field` holds the text, or the list with it, and is a field of `parent`. */
  readonly nameIn: (text: string, field: string, parent: Fields) => string | undefined
  /** Whether nothing is looked for in a field, such as one with words of the user's, which may quote a name. */
  readonly skips: (field: string, parent: Fields) => boolean
  readonly most: number
}

/** The names of things in a JSON value, each once, at most `most`. Texts are not searched, so long ones cost nothing. */
export function namesIn(value: unknown, { nameIn, skips, most }: Finding): string[] {
  const found = new Set<string>()
  let left = MOST_VALUES
  const look = (inner: unknown, field: string, parent: Fields, depth: number): void => {
    if (found.size >= most || left-- <= 0 || depth > DEEPEST) return
    if (typeof inner === 'string') {
      const name = nameIn(inner, field, parent)
      if (name !== undefined) found.add(name)
    } else if (Array.isArray(inner)) for (const item of inner) look(item, field, parent, depth + 1)
    else {
      const own = fields(inner)
      if (!own) return
      for (const name of Object.keys(own)) if (!skips(name, own)) look(own[name], name, own, depth + 1)
    }
  }
  look(value, '', {}, 0)
  return [...found]
}
