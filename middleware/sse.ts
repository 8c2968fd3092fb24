/** The complete events' JSON data in the beginning of a stream of server-sent events. Other data is passed over. */
export function* eventsIn(bytes: Buffer): Generator<unknown> {
  const text = bytes.toString('utf8')
  // What follows the last empty line is not complete yet.
  const complete = text.slice(0, Math.max(text.lastIndexOf('\n\n'), text.lastIndexOf('\r\n\r\n')) + 1)
  for (const line of complete.split(/\r?\n/)) {
    const event = dataOf(line)
    if (event !== undefined) yield event
  }
}

/** The JSON of a `data:` line. */
export function dataOf(line: string): unknown {
  if (!line.startsWith('data:')) return undefined
  try {
    return JSON.parse(line.slice(5))
  } catch {
    return undefined
  }
}
