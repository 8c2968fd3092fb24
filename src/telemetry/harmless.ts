/** Control characters but the line break and the tab, and those that change the direction of writing. */
const CONTROL = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/**
 * A text as a terminal may show it: an upstream or a file name could else move the cursor, or rewrite what stands on the
 * screen. Line breaks stay.
 */
export function harmless(text: string): string {
  return text.replace(CONTROL, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The same for a text that must stay on one line: it could else look like the next line of the log. */
export function harmlessLine(text: string): string {
  return harmless(text.replace(/\r?\n/g, '\\n'))
}
