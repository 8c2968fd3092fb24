const MAGIC = [0x28, 0xb5, 0x2f, 0xfd]
const LARGEST_BLOCK = 131_072

const block = (last: boolean, type: 'raw' | 'rle', size: number): Buffer => {
  const head = Buffer.alloc(3)
  head.writeUIntLE(size * 8 + (type === 'rle' ? 2 : 0) + (last ? 1 : 0), 0, 3)
  return head
}

/** A frame of one segment whose content is said to be so long (RFC 8878 §3.1.1). */
function frameOf(length: number): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(length)
  return Buffer.concat([Buffer.from([...MAGIC, 0xa0]), size])
}

/** Packed, but not made smaller: Node 20 has no encoder. */
export function zstdOf(text: string): Buffer {
  const bytes = Buffer.from(text)
  const blocks: Buffer[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += LARGEST_BLOCK) {
    const part = bytes.subarray(at, at + LARGEST_BLOCK)
    blocks.push(block(at + LARGEST_BLOCK >= bytes.length, 'raw', part.length), part)
  }
  return Buffer.concat([frameOf(bytes.length), ...blocks])
}

/** One byte, repeated: four bytes for every 128 KiB. `claimed` is the length that the frame tells. */
export function rleZstd(length: number, claimed: number = length): Buffer {
  const blocks: Buffer[] = []
  for (let left = length; left > 0; left -= LARGEST_BLOCK)
    blocks.push(block(left <= LARGEST_BLOCK, 'rle', Math.min(left, LARGEST_BLOCK)), Buffer.from('a'))
  return Buffer.concat([frameOf(claimed), ...blocks])
}

const LARGEST_WINDOW = 60_000_000

/** Blocks of one byte each, for each of which a decoder in JavaScript moves its whole window. */
export function tinyBlocks(): Buffer {
  const one = (last: boolean) => [block(last, 'raw', 1), Buffer.from('a')]
  return Buffer.concat([
    frameOf(LARGEST_WINDOW),
    ...Array.from({ length: 30_000 }, () => one(false)).flat(),
    ...one(true),
  ])
}

/** A block of 80 KB whose 40,000 sequences each repeat 128 KB, far beyond the end of the block (RFC 8878 §3.1.1.3.2). */
export function hostileSequences(): Buffer {
  const count = 40_000
  const [more, all, modes] = [count - 0x7f00, 255, 0b0101_0100]
  const [literals, offset, longestMatch] = [0, 0, 52]
  const head = [0, all, more & 255, more >> 8, modes, literals, offset, longestMatch]
  const bits = Buffer.alloc(count * 2 + 1, 0xff)
  bits[bits.length - 1] = 1
  const size = head.length + bits.length
  const start = Buffer.alloc(3)
  start.writeUIntLE(size * 8 + 4 + 1, 0, 3)
  return Buffer.concat([frameOf(LARGEST_BLOCK), start, Buffer.from(head), bits])
}
