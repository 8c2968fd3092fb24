import type { UpstreamError } from './errors.js'

/** What an upstream can mean by a refusal. */
export type Meaning =
  /** The login is over for good: no refresh brings it back. */
  | 'login over'
  /** The token is refused. */
  | 'unauthorized'
  /** The account, or its workspace, has no right to this. */
  | 'forbidden'
  /** The plan's quota or the money is used up. */
  | 'used up'
  | 'too fast'
  | 'overloaded'
  | 'no such model'
  /** A file, a response or the like that another account has. */
  | 'no such thing'

const OVER = 'deactivated|deleted|disabled|suspended|banned|terminated|revoked|invalidated'
const OF_LOGIN = 'accounts?|users?|workspaces?|organizations?|tokens?|sessions?|logins?|credentials?'

/**
 * The codes of each meaning, in the spelling of {@link UpstreamError.words}. `a|b c [d|e]` stands for `a_c`, `b_c`,
 * `a_c_d` and so on: one word of each group; a group in brackets may be missing. A word is a regular expression.
 */
const CODES: Readonly<Record<Meaning, readonly string[]>> = {
  'login over': [
    `[access|oauth] ${OF_LOGIN} [is|was|has_been] ${OVER}`,
    `${OVER} [access|oauth] account|user|workspace|organization|token|session|login`,
  ],
  unauthorized: [
    'unauthori[sz]ed|unauthenticated|not_authenticated',
    'authentication|authorization error|failed|required|expired',
    'invalid api_key|token|access_token|auth|authentication|authorization|credentials|session',
    '[access|id|session] token expired|invalid|missing',
    'expired|missing [access] token|authorization|session',
    'login|session required|expired|invalid',
  ],
  forbidden: [
    'forbidden|not_a?_?member|insufficient_(?:permissions?|scopes?)',
    'permission denied|error',
    'access denied|forbidden',
    'invalid workspace [selected]',
    'unsupported country|region|location|territory|country_region_territory',
  ],
  'used up': [
    '[plan|daily|weekly|monthly|hourly|account|workspace_\\w+] usage|quota|budget|plan|credits? limit|cap|quota [is] reached|exceeded|hit|exhausted',
    'billing|billing_hard|billing_soft|spend|spending|daily|weekly|monthly limit|cap|control reached|exceeded|hit',
    '[plan|daily|weekly|monthly|workspace_\\w+] usage|quota|credits? exceeded|exhausted|depleted',
    'usage|quota limit',
    'insufficient|no|not_enough quota|credits?|funds|balance',
    'out of credits?|quota|usage|funds',
    'usage_not_included|payment_required|billing_not_active|credit_balance_too_low',
    'subscription|plan required|expired|inactive',
  ],
  'too fast': [
    'rate_?limit|rate_?limits [error|exceeded|reached|hit]',
    'rate_?limited|throttled|throttling|resource_exhausted|concurrency_limit',
    'too_many [concurrent] requests',
    'requests?|tokens?|concurrency|tpm|rpm limit exceeded|reached',
  ],
  overloaded: [
    'server|engine|model|service|upstream [is] overloaded|busy|at_capacity|capacity_exceeded|error|timeout',
    'backend|connection|generation|inference|network|processing|stream|system [\\w+] error|failed|failure|interrupted',
    'policy_capacity|capacity|region unavailable',
    'overloaded [error]',
    'service|temporarily|backend|upstream unavailable',
    'unavailable|slow_down|timeout|bad_gateway|gateway_timeout|deadline_exceeded|api_error',
    'internal [server] error',
  ],
  'no such model': [
    'model not found|available|supported|allowed|enabled|permitted',
    'model unavailable|unsupported|access_denied|deprecated',
    'unsupported|unknown|no_such|invalid model',
  ],
  'no such thing': [
    'file|response|previous_response|item|conversation|container|vector_store|upload|batch|cached_content not_found|expired|access_denied',
  ],
}

/** The same in texts for people, which count only where no code tells the reason. */
const TEXTS: Readonly<Partial<Record<Meaning, readonly RegExp[]>>> = {
  unauthorized: [
    /(?:authentication|access|oauth) token/,
    /\bsign(?:ing)? in again/,
    /incorrect api key/,
    /^(?:401 )?unauthori[sz]ed\b/m,
    /^could not validate credentials/m,
  ],
  forbidden: [/^(?:403 )?forbidden\b/m, /^access denied/m, /^permission denied/m],
  'used up': [
    /usage limit/,
    /current quota/,
    /quota (?:is |has been |was )?(?:exceeded|exhausted|used up)/,
    /out of (?:credits|quota)/,
    /(?:insufficient|not enough) (?:quota|credits|funds)/,
    /not included in your plan/,
    /(?:hourly|daily|weekly|monthly) limit/,
    /credit balance is too low/,
    /(?:used|reached) (?:up )?(?:all )?(?:of )?your (?:\w+ ){0,2}(?:quota|credits|usage|messages)/,
  ],
  'too fast': [
    /rate[ -]?limit/,
    /too many (?:concurrent )?requests/,
    /requests? (?:too fast|too quickly)/,
    /slow down/,
  ],
  overloaded: [
    /overloaded/,
    /at capacity/,
    /(?:service|server|temporarily) (?:is )?(?:currently )?(?:unavailable|busy)/,
    /internal (?:server )?error/,
    /error occurred while processing/,
    /high (?:demand|load)/,
  ],
  'no such model': [
    /\bmodel\b.{0,120}(?:not supported when using|not supported (?:for|by|on|in) (?:this|your))/,
    /\bmodel\b.{0,120}(?:not (?:yet )?available|does not exist|not have access|no access|not found|not enabled|requires a)/,
    /\baccess to (?:the |this )?model\b/,
  ],
  'no such thing': [
    /\b(?:file|response|item|conversation|container|vector store|upload|cached content)s?\b.{0,160}\b(?:not found|not exist|not have access|no access|not accessible|belongs? to|expired|no longer)/,
    /\bno (?:file|response|item|container) found|\bno such (?:file|response|item|conversation|container|vector store|upload|batch)\b/,
    /\b(?:no|not have|denied|lacks?) access to (?:the |this |that )?(?:file|response|item|conversation|container|vector store|upload|cached content)\b/,
  ],
}

/** Codes that say that something is wrong, and not what. */
const EMPTY =
  /^(?:invalid_request(?:_error)?|bad_request|error|api_error|unknown(?:_error)?|not_found|upstream_error)$/

/** Whether an error's codes name this meaning. An empty code counts only where no other one tells a reason. */
export function codesSay({ words }: UpstreamError, meaning: Meaning): boolean {
  const telling = words.filter((word) => !EMPTY.test(word))
  return (telling.length > 0 ? telling : words).some((word) => patterns[meaning].code.test(`${word}_`))
}

/** Whether an error's texts name this meaning. */
export function textsSay({ message }: UpstreamError, meaning: Meaning): boolean {
  return patterns[meaning].text?.test(message) ?? false
}

/** Whether an error has this meaning, by its codes; by its texts where no code tells a reason. */
export function says(error: UpstreamError, meaning: Meaning): boolean {
  return (
    codesSay(error, meaning) || (error.words.every((word) => EMPTY.test(word)) && textsSay(error, meaning))
  )
}

/** Whether a word is a code of some meaning. */
export function namesReason(word: string): boolean {
  return Object.values(patterns).some(({ code }) => code.test(`${word}_`))
}

/** One pattern for the codes, which are tested with a `_` behind them, and one for the texts. */
const patterns = Object.fromEntries(
  Object.entries(CODES).map(([meaning, phrases]) => {
    const texts = TEXTS[meaning as Meaning]?.map(({ source }) => source).join('|')
    const code = new RegExp(`^(?:${phrases.map(phrasePattern).join('|')})$`)
    return [meaning, { code, text: texts === undefined ? undefined : new RegExp(texts, 'ims') }]
  }),
) as Readonly<Record<Meaning, { readonly code: RegExp; readonly text: RegExp | undefined }>>

function phrasePattern(phrase: string): string {
  const groups = phrase.split(' ').map((group) => {
    const optional = /^\[(.+)\]$/.exec(group)?.[1]
    return optional === undefined ? `(?:${group})_` : `(?:(?:${optional})_)?`
  })
  return groups.join('')
}
