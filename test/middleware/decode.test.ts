import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib'
import { decode } from '../../middleware/decode.js'
import { zstdOf } from '../kit/zstd.js'

const text = randomBytes(4 * 1024 * 1024).toString('hex')
const encoded: Record<string, () => Buffer> = {
  gzip: () => gzipSync(text),
  'X-GZIP': () => gzipSync(text),
  br: () => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  deflate: () => deflateSync(text),
  zstd: () => zstdOf(text),
}

for (const [encoding, bytes] of Object.entries(encoded))
  test(`other requests have their turn while a body is decoded: ${encoding}`, async () => {
    const body = bytes()
    let turns = 0
    const count = (): void => {
      turns++
      next = setImmediate(count)
    }
    let next = setImmediate(count)
    const decoded = await decode(body, encoding)
    clearImmediate(next)
    assert.equal(decoded?.toString('latin1'), text)
    assert.ok(turns > 1, 'the event loop stood still')
  })

test('an unknown encoding is told as unknown, also one that is a name of every object', async () => {
  for (const encoding of ['rot13', 'constructor', 'gzip, gzip'])
    assert.equal(await decode(Buffer.from('x'), encoding), undefined)
})
