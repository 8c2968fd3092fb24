import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { Decompress } from 'fzstd'
import { GatewayFailure } from './gateway-failure.js'

/** No prompt is larger; what is, was made to fill our memory. */
const LARGEST_TEXT = 128 * 1024 * 1024
/** Source code and JSON shrink to a tenth, repeated text to a hundredth. */
const LARGEST_RATIO = 1_000
/** Below this nobody is hurt by any ratio. */
const HARMLESS = 1024 * 1024

/**
 * Decodes a request body, to look inside. `undefined` for an encoding that we do not know.
 * @throws GatewayFailure 400 for a body that is not what it says, 413 for one that grows beyond all measure
 */
export function decodeBody(bytes: Buffer, encoding: string): Buffer | undefined {
  const limit = Math.min(LARGEST_TEXT, Math.max(bytes.length * LARGEST_RATIO, HARMLESS))
  const options = { maxOutputLength: limit }
  try {
    switch (encoding.trim().toLowerCase()) {
      case 'zstd':
        return fromZstd(bytes, limit)
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, options)
      case 'br':
        return brotliDecompressSync(bytes, options)
      case 'deflate':
        return inflateSync(bytes, options)
      case 'identity':
        return bytes
    }
  } catch (error) {
    if (error instanceof GatewayFailure) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw bomb(limit)
    throw new GatewayFailure(400, 'bad_content_encoding', `the request body is not valid ${encoding}`)
  }
  return undefined
}

function fromZstd(bytes: Buffer, limit: number): Buffer {
  if (zstdWindow(bytes) > LARGEST_TEXT) throw bomb(LARGEST_TEXT)
  const chunks: Uint8Array[] = []
  let size = 0
  unzstd(bytes, (chunk) => {
    size += chunk.length
    if (size > limit) throw bomb(limit)
    chunks.push(chunk)
  })
  return Buffer.concat(chunks)
}

const bomb = (limit: number): GatewayFailure =>
  new GatewayFailure(413, 'body_too_large', `the request body decompresses to more than ${limit} bytes`)

/**
 * Decodes zstd, piece by piece so that a bomb is noticed before it has grown; Node has a decoder of its own only from
 * 22.15 on. `take` may throw to end it.
 * @throws for a body that is no zstd
 */
export function unzstd(bytes: Buffer, take: (chunk: Uint8Array) => void): void {
  new Decompress(take).push(bytes, true)
}

const FRAME = 0xfd2fb528
const SKIPPABLE = 0x184d2a50
const RLE = 1

/**
 * The most that a frame wants to have in memory at once; bytes (RFC 8878 §3.1.1). The decoder would make room for 2 GB on
 * the word of 20 bytes.
 * @throws for a body that is no zstd
 */
export function zstdWindow(bytes: Buffer): number {
  let largest = 0
  for (let at = 0; at < bytes.length;) {
    const magic = bytes.readUInt32LE(at)
    if ((magic & ~0xf) >>> 0 === SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4)
      continue
    }
    if (magic !== FRAME) throw new Error('not zstd')
    const header = headerAt(bytes, at + 4)
    largest = Math.max(largest, header.window)
    at = endOfBlocks(bytes, header.end) + (header.checksum ? 4 : 0)
  }
  return largest
}

function headerAt(bytes: Buffer, at: number): { window: number; end: number; checksum: boolean } {
  const flags = bytes.readUInt8(at)
  const single = (flags & 0x20) !== 0
  const dictionary = [0, 1, 2, 4][flags & 3]!
  const size = [single ? 1 : 0, 2, 4, 8][flags >> 6]!
  const sizeAt = at + (single ? 1 : 2) + dictionary
  const end = sizeAt + size
  const checksum = (flags & 4) !== 0
  if (!single) {
    const descriptor = bytes.readUInt8(at + 1)
    const base = 2 ** (10 + (descriptor >> 3))
    return { window: base + (base / 8) * (descriptor & 7), end, checksum }
  }
  // More than 4 GB by its upper half is too much whatever the lower one says.
  const upper = size === 8 ? bytes.readUInt32LE(sizeAt + 4) * 2 ** 32 : 0
  return { window: upper + bytes.readUIntLE(sizeAt, Math.min(size, 4)), end, checksum }
}

function endOfBlocks(bytes: Buffer, from: number): number {
  let at = from
  for (;;) {
    const head = bytes.readUIntLE(at, 3)
    at += 3 + (((head >> 1) & 3) === RLE ? 1 : head >> 3)
    if (head & 1) return at
  }
}
