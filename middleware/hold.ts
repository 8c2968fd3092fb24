import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import type { HeldAnswer } from './outcome.js'

export interface HoldOptions {
  readonly maxBytes: number
  readonly maxMs: number
  /** Called with all bytes so far; `true` lets go before the bounds are reached. */
  readonly enough?: (bytes: Buffer) => boolean
}

/** Reads the beginning of an answer and keeps it, so that it can still be given up or sent on whole. */
export function hold(answer: HeldAnswer, options: HoldOptions): Promise<HeldAnswer> {
  const { response } = answer
  return new Promise((resolve) => {
    let begun = Buffer.concat(answer.begun)
    const stop = () => {
      clearTimeout(timer)
      response.off('data', onData).off('end', stop).off('close', stop)
      response.pause()
      // Not whether `end` has come: of an answer that was there as a whole it comes in a moment, paused or not.
      const ended = response.complete && response.readableLength === 0
      resolve({ ...answer, begun: [begun], ended })
    }
    const onData = (chunk: Buffer) => {
      begun = Buffer.concat([begun, chunk])
      if (begun.length >= options.maxBytes || options.enough?.(begun)) stop()
    }
    const timer = setTimeout(stop, options.maxMs)
    response.on('data', onData).once('end', stop).once('close', stop)
  })
}

/** The text of an answer's beginning, decompressed if need be; empty if it cannot be read. */
export function textOf(answer: HeldAnswer): string {
  const bytes = Buffer.concat(answer.begun)
  const options = { maxOutputLength: 8 * 1024 * 1024 }
  try {
    switch (answer.response.headers['content-encoding']) {
      case 'gzip':
        return gunzipSync(bytes, options).toString('utf8')
      case 'br':
        return brotliDecompressSync(bytes, options).toString('utf8')
      case 'deflate':
        return inflateSync(bytes, options).toString('utf8')
      case undefined:
      case 'identity':
        return bytes.toString('utf8')
    }
  } catch {
    // Cut off or not what it says: then it is judged by its status alone.
  }
  return ''
}
