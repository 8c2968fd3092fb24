import picomatch from 'picomatch'
import type { Credential, Inspection, Provider } from '../../config/provider.js'

export type Providers = ReadonlyMap<string, Provider>

/** A provider that reads files of a name. */
export interface Claimant {
  readonly provider: string
  readonly inspect: (credential: Credential) => Inspection | string
}

export type Claim =
  { readonly provider: string; readonly inspection: Inspection } | { readonly refused: string }

/** The providers whose pattern fits a file name best: `gemini_*.json` goes before `*.json`. */
export function claimantsOf(name: string, providers: Providers): Claimant[] {
  const fitting = [...providers].flatMap(([provider, definition]) => {
    const pattern = patternOf(provider, definition)
    if (!picomatch.isMatch(name, pattern)) return []
    const inspect = (credential: Credential) => definition.inspect?.(credential) ?? {}
    return [{ provider, inspect, specificity: fixedPart(pattern).length }]
  })
  const best = Math.max(...fitting.map(({ specificity }) => specificity))
  return fitting.filter(({ specificity }) => specificity === best)
}

/** The first of them that can use a credential, or why none can. */
export function claimOf(credential: Credential, claimants: readonly Claimant[]): Claim {
  const reasons: string[] = []
  for (const { provider, inspect } of claimants) {
    const inspection = inspect(credential)
    if (typeof inspection !== 'string') return { provider, inspection }
    reasons.push(claimants.length > 1 ? `${provider}: ${inspection}` : inspection)
  }
  return { refused: reasons.join('; ') }
}

/** Which files of the pool are a provider's. */
export function patternOf(provider: string, { credentials }: Provider): string {
  return credentials ?? `${provider}_*.json`
}

/** What every name that fits a pattern begins with. */
export function fixedPart(pattern: string): string {
  return pattern.slice(0, pattern.search(/[*?[{(!]|$/))
}
