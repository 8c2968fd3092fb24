import { parentPort } from 'node:worker_threads'
import { Decompress } from 'fzstd'
import type { Packed, Unpacked } from './unzstd.js'

/** The thread that unpacks zstd: 80 KB can be made to keep this decoder at work for 20 s in one call. */
parentPort!.on('message', (packed: Packed) => parentPort!.postMessage(unpacked(packed)))

const TOO_LARGE = new Error('too large')
/** Bytes. Encoders use 2 MiB, 8 MiB for the best compression (RFC 8878 §3.1.1.1.2); the decoder allocates it. */
const LARGEST_WINDOW = 64 * 1024 * 1024
/** The bytes that tell the window of a frame (RFC 8878 §3.1.1). */
const HEAD = 18

function unpacked({ bytes, limit, whole }: Packed): Unpacked {
  const unpack = whole ? new Decoder() : (stream ??= new Decoder())
  try {
    if (whole) checkWindows(Buffer.from(bytes))
    return { bytes: unpack.add(Buffer.from(bytes), limit, whole) }
  } catch (error) {
    return { failed: error === TOO_LARGE ? 'too_large' : 'malformed' }
  }
}

/** Unpacks the stream of this thread, piece by piece. */
let stream: Decoder | undefined

class Decoder {
  /** The beginning, until it tells the window. */
  #head: Buffer | undefined = Buffer.alloc(0)
  #out: Uint8Array[] = []
  #left = 0
  readonly #decoder = new Decompress((chunk) => {
    this.#left -= chunk.length
    if (this.#left < 0) throw TOO_LARGE
    this.#out.push(chunk)
  })

  /** Adds a piece. @returns what it unpacks to: `limit` bytes at most */
  add(bytes: Buffer, limit: number, isLast: boolean): Buffer {
    const begun = this.#head ? Buffer.concat([this.#head, bytes]) : bytes
    if (this.#head && begun.length < HEAD && !isLast) {
      this.#head = begun
      return Buffer.alloc(0)
    }
    if (this.#head) checkHead(begun)
    this.#head = undefined
    this.#left = limit
    this.#out = []
    for (let at = 0; at < begun.length; at += SLICE)
      this.#decoder.push(begun.subarray(at, at + SLICE), isLast && at + SLICE >= begun.length)
    return Buffer.concat(this.#out)
  }
}

/** Bytes. The decoder copies what is left of a block with each push. */
const SLICE = 64 * 1024

function checkHead(begun: Buffer): void {
  const head = Buffer.concat([begun.subarray(0, HEAD), Buffer.alloc(HEAD)])
  if (head.readUInt32LE(0) === FRAME && headerAt(head, 4).window > LARGEST_WINDOW) throw TOO_LARGE
}

const FRAME = 0xfd2fb528
const SKIPPABLE = 0x184d2a50
const RLE = 1

/**
 * Looks at the windows of all frames (RFC 8878 §3.1.1). Without this check a body of 20 bytes makes the decoder allocate
 * 2 GB.
 * @throws for a body that is no zstd, too
 */
function checkWindows(bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) {
    const magic = bytes.readUInt32LE(at)
    if ((magic & ~0xf) >>> 0 === SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4)
      continue
    }
    if (magic !== FRAME) throw new Error('not zstd')
    const header = headerAt(bytes, at + 4)
    if (header.window > LARGEST_WINDOW) throw TOO_LARGE
    at = endOfBlocks(bytes, header.end) + (header.checksum ? 4 : 0)
  }
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
