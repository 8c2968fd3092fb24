import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { GatewayFailure } from './gateway-failure.js'
import { unzstd, zstdWindow } from './zstd.js'

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
