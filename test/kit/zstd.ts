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
