import type { Transform } from 'node:stream'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { GatewayFailure } from './failure.js'
import { unzstd, zstdDecoder } from './zstd/unzstd.js'

/** Bytes. No prompt is larger; a body that decodes to more was made to fill our memory. */
const LARGEST_TEXT = 64 * 1024 * 1024
/** Source code and JSON shrink to a tenth, repeated text to a hundredth. */
const LARGEST_RATIO = 1_000
/** Bytes. A small body may have any ratio. */
const HARMLESS = 1024 * 1024

type Decoder = (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>

/** All work on other threads: a parallel request does not wait for them. */
const DECODERS: Partial<Record<string, Decoder>> = {
  gzip: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  'x-gzip': promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  br: promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress),
  deflate: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate),
  zstd: unzstd,
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

const bomb = (limit: number): GatewayFailure =>
  new GatewayFailure(413, 'body_too_large', `the request body decompresses to more than ${limit} bytes`)
