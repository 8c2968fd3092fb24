import picomatch from 'picomatch'
import { credentialsPattern, messageOf, redact } from '../../config/index.js'
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
    const pattern = credentialsPattern(provider, definition)
    if (!matcher(pattern)(name)) return []
    const inspect = (credential: Credential) => inspected(definition, credential)
    return [{ provider, inspect, specificity: fixedPart(pattern).length }]
  })
  const best = Math.max(...fitting.map(({ specificity }) => specificity))
  return fitting.filter(({ specificity }) => specificity === best)
}

/** Tells which names a pattern stands for. A name may stand in its place. */
export function matcher(pattern: string): (name: string) => boolean {
  const matches = picomatch(pattern)
  return (name) => name === pattern || matches(name)
}

/** Inspects a credential. A throw of the user's own provider costs this file only. */
export function inspected(provider: Provider, credential: Credential): Inspection | string {
  try {
    return provider.inspect?.(credential) ?? {}
  } catch (error) {
    return redact(`its provider cannot read it: inspect failed: ${messageOf(error)}`, credential)
  }
}

/** The first provider that can use a credential, or the reason why none can. */
export function claimOf(credential: Credential, claimants: readonly Claimant[]): Claim {
  const reasons: string[] = []
  for (const { provider, inspect } of claimants) {
    const inspection = inspect(credential)
    if (typeof inspection !== 'string') return { provider, inspection }
    reasons.push(claimants.length > 1 ? `${provider}: ${inspection}` : inspection)
  }
  return { refused: reasons.join('; ') }
}

/** How every name begins that fits a pattern. */
export function fixedPart(pattern: string): string {
  return pattern.slice(0, pattern.search(/[*?[{(!]|$/))
}
