import * as zlib from 'node:zlib'

/** Decodes a body; bytes that this runtime cannot decode come back as they are. */
export function decode(bytes: Buffer, encoding: string | undefined): Buffer {
  try {
    if (encoding === 'gzip') return zlib.gunzipSync(bytes)
    if (encoding === 'deflate') return zlib.inflateSync(bytes)
    if (encoding === 'br') return zlib.brotliDecompressSync(bytes)
    if (encoding === 'zstd') return zstd(bytes)
  } catch {
    // Not what it says it is: kept as it came, for the test to look at.
  }
  return bytes
}

/** Since Node 22.15; looked up by name because the types of Node 20 do not have it. */
function zstd(bytes: Buffer): Buffer {
  const decompress: unknown = Reflect.get(zlib, 'zstdDecompressSync')
  if (typeof decompress !== 'function') return bytes
  const decoded: unknown = decompress(bytes)
  return Buffer.isBuffer(decoded) ? decoded : bytes
}
