const UNIT_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** `9h22m20s`, `1.5s`, `250ms`, `20 seconds` or `33740.910400305s` in ms. */
export function durationMs(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  const text = value
    .trim()
    .replace(/ *(day|hour|minute|second)s?,? */gi, (_, unit: string) => unit[0]!.toLowerCase())
  if (!/^(\d+(\.\d+)?(ms|[dhms]))+$/.test(text)) return undefined
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)
  return Math.ceil([...parts].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNIT_MS[unit!]!, 0))
}

const AMOUNT = String.raw`((?:\d+(?:\.\d+)?(?:ms|[dhms]| *(?:day|hour|minute|second)s?),? *)+)`
const HINT = new RegExp(String.raw`(?:retry in|try again in|resets? in|resets? after) ${AMOUNT}`, 'i')

/** How long a message for people says to wait: "Please try again in 1.5s", "Resets in 9h22m20s." */
export function waitInMessage(message: string | undefined): number | undefined {
  return durationMs(HINT.exec(message ?? '')?.[1])
}
