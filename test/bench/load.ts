import { Agent, request as ask } from 'node:http'

export interface Load {
  readonly name: string
  /** `json` or `stream`. */
  readonly path: string
  readonly bodyBytes: number
  readonly requests: number
  /** Requests at the same time. */
  readonly width: number
}

export interface Timing {
  /** From the call to the first byte of the body; ms. */
  readonly firstByteMs: number
  /** From the call to the end; ms. */
  readonly totalMs: number
}

/** Characters of one message. */
const MESSAGE = 500

/** A conversation of about so many bytes: a long one has many messages. */
function talk(bytes: number): string {
  const messages = Array.from({ length: Math.ceil(bytes / MESSAGE) }, (_, at) => ({
    role: at % 2 === 0 ? 'user' : 'assistant',
    content: String(at).padEnd(MESSAGE, 'x'),
  }))
  return JSON.stringify({ model: 'm', messages })
}

/** Sends a bounded number of requests, `width` at a time, and times each. Those that are `named` tell their session. */
export async function send(
  { path, bodyBytes, requests, width }: Load,
  base: string,
  named: boolean,
): Promise<Timing[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: width })
  const body = talk(bodyBytes)
  const timings: Timing[] = []
  let left = requests
  const worker = async (session: number): Promise<void> => {
    while (left-- > 0)
      timings.push(await once(`${base}/${path}`, body, named ? `session-${session}` : undefined, agent))
  }
  await Promise.all(Array.from({ length: width }, (_, session) => worker(session)))
  agent.destroy()
  return timings
}

function once(url: string, body: string, session: string | undefined, agent: Agent): Promise<Timing> {
  const startedAt = performance.now()
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(session !== undefined && { 'session-id': session }),
  }
  return new Promise((resolve, reject) => {
    const sent = ask(url, { method: 'POST', headers, agent }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`${url} answered ${answer.statusCode}`))
      let firstByteMs: number | undefined
      answer.on('data', () => (firstByteMs ??= performance.now() - startedAt))
      answer.once('end', () => {
        const totalMs = performance.now() - startedAt
        resolve({ firstByteMs: firstByteMs ?? totalMs, totalMs })
      })
      answer.once('error', reject)
    })
    sent.once('error', reject).end(body)
  })
}
