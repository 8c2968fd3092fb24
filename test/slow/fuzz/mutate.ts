import type { Random } from './random.js'

const deep = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth)

/** Texts that have broken parsers before. */
const TOKENS: readonly string[] = [
  '\0',
  '\r\n',
  '\n\n',
  '\r\n\r\n',
  '\x1b[2J',
  '%',
  '%00',
  '%2e%2e/',
  '//',
  '\\',
  '#',
  '?',
  '"',
  '{',
  '[',
  ',',
  ':',
  'null',
  'true',
  '-1',
  '1e999',
  '9'.repeat(400),
  '1e308',
  '8640000000000001',
  '253402300800000000',
  '\u{feff}',
  '\u{d800}',
  '__proto__',
  'constructor',
  'content-length: 0\r\n',
  'content-length: 99999999999\r\n',
  'transfer-encoding: chunked\r\n',
  'connection: upgrade\r\nupgrade: h2c\r\n',
  'host: [::1]evil.example\r\n',
  'content-encoding: gzip\r\n',
  'content-encoding: zstd\r\n',
  'retry-after: 99999999999999\r\n',
  'x-codex-primary-reset-at: 99999999999999999\r\n',
  ' '.repeat(4_096),
  'a'.repeat(8_192),
  deep('[', ']', 3_000),
  deep('{"a":', '}', 1_500),
]

/** One to four changes at random places. The result may be longer by some kilobytes. */
export function mutate(seed: Buffer, random: Random): Buffer {
  let bytes = seed
  for (let left = 1 + random.below(4); left > 0; left--) bytes = change(bytes, random)
  return bytes
}

function change(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1)
  const to = Math.min(bytes.length, at + 1 + random.below(32))
  const [before, between, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)]
  switch (random.below(6)) {
    case 0:
      return Buffer.concat([before, after])
    case 1:
      return Buffer.concat([before, between, between, after])
    case 2:
      return Buffer.concat([before, Buffer.from(random.of(TOKENS)), bytes.subarray(at)])
    case 3:
      return Buffer.concat([before, Buffer.from(random.of(TOKENS)), after])
    case 4:
      return before
    default: {
      const flipped = Buffer.from(bytes)
      if (at < flipped.length) flipped[at]! ^= 1 << random.below(8)
      return flipped
    }
  }
}
