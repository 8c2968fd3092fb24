import { fixedPart, patternOf, type Providers } from './claim.js'
import { wouldServe, type Newcomer } from './newcomer.js'

/**
 * A free file name for a newcomer, from who it is, such that the pool takes the file for the right provider.
 * `wanted`: a name of the person's choice, with or without `.json`.
 * @returns the reason if there is none
 */
export function fileNameFor(
  newcomer: Newcomer,
  wanted: string | undefined,
  taken: readonly string[],
  providers: Providers,
): { readonly name: string } | { readonly problem: string } {
  const names = wanted === undefined ? suggestions(newcomer) : [wanted.replace(/\.json$/, '')]
  if (names.some((name) => !/^[\w][\w.@+-]*$/.test(name)))
    return { problem: `"${wanted}" is no good file name: use letters, digits and . _ - + @` }
  const used = new Set(taken.map((name) => name.toLowerCase()))
  const prefix = fixedPart(patternOf(newcomer.provider, providers.get(newcomer.provider)!))
  for (const name of names) {
    const fitting = [`${name}.json`, `${prefix}${name}.json`].find((file) =>
      wouldServe(file, newcomer, providers),
    )
    if (fitting === undefined) continue
    // File names that differ in case only are one file on many disks.
    if (!used.has(fitting.toLowerCase())) return { name: fitting }
    if (wanted !== undefined) return { problem: `there is a ${fitting} already; choose another --name` }
  }
  const pattern = patternOf(newcomer.provider, providers.get(newcomer.provider)!)
  return { problem: `no name was found that fits ${pattern}; choose one with --name` }
}

const SUGGESTIONS = 1_000

/** Who it is; then with the plan, since one person may be in several workspaces; then numbers. */
function suggestions({ provider, inspection: { label, plan } }: Newcomer): string[] {
  const who = plain(label?.replace(/@.*$/, '')) ?? plain(plan) ?? plain(provider) ?? 'account'
  const more = plain(plan)
  const numbered = Array.from({ length: SUGGESTIONS }, (_, index) => `${who}-${index + 2}`)
  return [who, ...(more === undefined || more === who ? [] : [`${who}-${more}`]), ...numbered]
}

/** What any disk takes as a file name, and a shell without quotes. */
function plain(text: string | undefined): string | undefined {
  const safe = text
    ?.toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[-._]+|[-._]+$/g, '')
    .slice(0, 40)
  return safe || undefined
}
