import { Transform } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { Decompress } from 'fzstd'
import { GatewayFailure } from './failure.js'

/** Bytes. No prompt is larger; a body that decodes to more was made to fill our memory. */
const LARGEST_TEXT = 128 * 1024 * 1024
/** Source code and JSON shrink to a tenth, repeated text to a hundredth. */
const LARGEST_RATIO = 1_000
/** Bytes. A small body may have any ratio. */
const HARMLESS = 1024 * 1024

type Decoder = (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>

/** Those of Node run on its thread pool: a parallel request does not wait for them. */
const DECODERS: Partial<Record<string, Decoder>> = {
  gzip: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  'x-gzip': promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  br: promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress),
  deflate: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate),
  zstd: (bytes, { maxOutputLength }) => unzstd(bytes, maxOutputLength),
  identity: (bytes) => Promise.resolve(bytes),
}

/** Whether bytes of this `content-encoding` can be read without decoding. */
export const isPlain = (encoding: string | undefined): boolean =>
  encoding === undefined || encoding.trim().toLowerCase() === 'identity'

/**
 * Decodes a body, to look inside. `undefined` for an unknown encoding.
 * @throws GatewayFailure 400 for a body that is not what its encoding says, 413 for one that decodes to too much
 */
export async function decode(bytes: Buffer, encoding: string | undefined): Promise<Buffer | undefined> {
  const name = encoding?.trim().toLowerCase() ?? 'identity'
  const decoder = Object.hasOwn(DECODERS, name) ? DECODERS[name] : undefined
  const limit = Math.min(LARGEST_TEXT, Math.max(bytes.length * LARGEST_RATIO, HARMLESS))
  try {
    return await decoder?.(bytes, { maxOutputLength: limit })
  } catch (error) {
    if (error instanceof GatewayFailure) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw bomb(limit)
    throw new GatewayFailure(400, 'bad_content_encoding', `the body is not valid ${name}`)
  }
}

/** Same, as text: empty if it cannot be decoded. */
export async function decodeText(bytes: Buffer, encoding: string | undefined): Promise<string> {
  const decoded = await decode(bytes, encoding).catch(() => undefined)
  return decoded?.toString('utf8') ?? ''
}

/** A stream that decodes; `undefined` for an encoding that cannot be decoded in pieces here. */
export function decoderOf(encoding: string | undefined): Transform | undefined {
  switch (encoding?.trim().toLowerCase()) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip()
    case 'br':
      return zlib.createBrotliDecompress()
    case 'deflate':
      return zlib.createInflate()
    case 'zstd':
      return zstdDecoder()
  }
  return undefined
}

/** The bytes that tell the window of a frame (RFC 8878 §3.1.1). */
const ZSTD_HEAD = 18

/** Decodes zstd in pieces, with one window in memory. */
function zstdDecoder(): Transform {
  let head: Buffer | undefined = Buffer.alloc(0)
  const decoder = new Decompress((chunk) => stream.push(chunk))
  const push = (chunk: Buffer, isLast = false) => {
    const begun = head ? Buffer.concat([head, chunk]) : chunk
    if (head && begun.length < ZSTD_HEAD && !isLast) return void (head = begun)
    if (head && begun.length > 0) checkWindow(begun)
    head = undefined
    if (begun.length > 0) decoder.push(begun)
  }
  const attempt = (chunk: Buffer, isLast: boolean, done: (error?: Error) => void) => {
    try {
      push(chunk, isLast)
      done()
    } catch (error) {
      done(error as Error)
    }
  }
  const stream: Transform = new Transform({
    transform: (chunk: Buffer, _encoding, done) => attempt(chunk, false, done),
    flush: (done) => attempt(Buffer.alloc(0), true, done),
  })
  return stream
}

/** @throws for a first frame with too large a window */
function checkWindow(begun: Buffer): void {
  const head = Buffer.concat([begun.subarray(0, ZSTD_HEAD), Buffer.alloc(ZSTD_HEAD)])
  if (head.readUInt32LE(0) === FRAME && headerAt(head, 4).window > LARGEST_TEXT) throw bomb(LARGEST_TEXT)
}

/** Bytes of zstd that are decoded before the clock is looked at. */
const SLICE = 4 * 1024
/** ms of decoding after which other requests have their turn. */
const TURN_MS = 5

/** Node has a decoder of its own only from 22.15 on, and this one runs on the main thread: so it works in slices. */
async function unzstd(bytes: Buffer, limit: number): Promise<Buffer> {
  if (zstdWindow(bytes) > LARGEST_TEXT) throw bomb(LARGEST_TEXT)
  const chunks: Uint8Array[] = []
  let size = 0
  const decoder = new Decompress((chunk) => {
    size += chunk.length
    if (size > limit) throw bomb(limit)
    chunks.push(chunk)
  })
  let turn = performance.now()
  for (let at = 0; at < bytes.length; at += SLICE) {
    decoder.push(bytes.subarray(at, at + SLICE), at + SLICE >= bytes.length)
    if (performance.now() - turn < TURN_MS) continue
    await nextTurn()
    turn = performance.now()
  }
  return Buffer.concat(chunks)
}

const bomb = (limit: number): GatewayFailure =>
  new GatewayFailure(413, 'body_too_large', `the request body decompresses to more than ${limit} bytes`)

const FRAME = 0xfd2fb528
const SKIPPABLE = 0x184d2a50
const RLE = 1

/**
 * The largest window of all frames; bytes (RFC 8878 §3.1.1). Without this check a body of 20 bytes makes the decoder
 * allocate 2 GB.
 * @throws for a body that is no zstd
 */
function zstdWindow(bytes: Buffer): number {
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
  // A size beyond 4 GB is too much whatever its lower half is.
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
