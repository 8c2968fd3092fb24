import { Transform } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

/** What a worker gets: a whole body, or the next piece of the one that it unpacks. */
export interface Packed {
  readonly bytes: Uint8Array
  /** Bytes that may come out of it. */
  readonly limit: number
  readonly whole: boolean
}

/** What a worker answers. */
export type Unpacked = { readonly bytes: Uint8Array } | { readonly failed: 'too_large' | 'malformed' }

/** The largest body takes less than 1 s; ms. */
const LONGEST_MS = 2_000
/** Bytes that may come out of one piece of a stream. */
const LARGEST_PIECE = 16 * 1024 * 1024
/** Bytes that a reader gets at once, before other requests have their turn. */
const CHUNK = 64 * 1024

/**
 * Node unpacks zstd by itself only from 22.15 on, and this decoder is JavaScript: so it has a thread of its own, which is
 * ended if it takes too long.
 */
class Unpacker {
  #worker: Worker | undefined

  /** @throws as Node's own decoders do */
  async unpack(packed: Packed): Promise<Buffer> {
    const answer = await answerOf((this.#worker ??= started()), packed).catch((error: Error) => {
      this.end()
      throw error
    })
    if ('failed' in answer) {
      const code = answer.failed === 'too_large' ? 'ERR_BUFFER_TOO_LARGE' : 'ERR_ZSTD'
      throw Object.assign(new Error(`zstd: ${answer.failed}`), { code })
    }
    const { buffer, byteOffset, byteLength } = answer.bytes
    return Buffer.from(buffer, byteOffset, byteLength)
  }

  end(): void {
    void this.#worker?.terminate()
    this.#worker = undefined
  }
}

const bodies = new Unpacker()
let last: Promise<unknown> = Promise.resolve()

/** Unpacks a body. Bodies wait for one another: with a thread for each, strangers could start any number of threads. */
export function unzstd(bytes: Buffer, { maxOutputLength }: { maxOutputLength: number }): Promise<Buffer> {
  const unpacked = last.then(() => bodies.unpack({ bytes, limit: maxOutputLength, whole: true }))
  last = unpacked.catch(() => {})
  return unpacked
}

/** Unpacks an answer that arrives in pieces, on a thread for it alone. */
export function zstdDecoder(): Transform {
  const unpacker = new Unpacker()
  return new Transform({
    transform(bytes: Buffer, _encoding, done) {
      const pass = async (unpacked: Buffer) => {
        for (let at = 0; at < unpacked.length; at += CHUNK) {
          this.push(unpacked.subarray(at, at + CHUNK))
          await nextTurn()
        }
        done()
      }
      unpacker.unpack({ bytes, limit: LARGEST_PIECE, whole: false }).then(pass).catch(done)
    },
    destroy(error, done) {
      unpacker.end()
      done(error)
    },
  })
}

function started(): Worker {
  const started = new Worker(new URL('worker.js', import.meta.url), { execArgv: [] })
  // Without a listener an error would end the process. The body that the worker unpacks gets the error as well.
  return started.on('error', () => {})
}

function answerOf(worker: Worker, packed: Packed): Promise<Unpacked> {
  return new Promise((resolve, reject) => {
    const settle = (answer: Unpacked | Error) => {
      clearTimeout(timer)
      worker.off('message', settle).off('error', settle).off('exit', onExit)
      // An idle worker must not keep the process alive.
      worker.unref()
      if (answer instanceof Error) reject(answer)
      else resolve(answer)
    }
    const onExit = () => settle(new Error('the zstd decoder has ended'))
    const timer = setTimeout(() => settle(new Error('zstd takes too long')), LONGEST_MS)
    worker.ref()
    worker.on('message', settle).on('error', settle).on('exit', onExit)
    worker.postMessage(packed)
  })
}
