import { createServer } from 'node:http'
import { serveChild } from './child.js'

/** Runs as a process of its own: a model that answers at once, and refuses one account. */
const EVENTS = 100
const event = `data: ${JSON.stringify({ type: 'response.output_text.delta', delta: 'x'.repeat(150) })}\n\n`
const last = `data: ${JSON.stringify({ type: 'response.completed', response: { usage: { total_tokens: 9 } } })}\n\n`
const answer = JSON.stringify({ text: 'x'.repeat(1000), usage: { total_tokens: 9 } })
const refusal = JSON.stringify({ error: { message: 'not for this account' } })

const server = createServer((request, response) => {
  request.resume().once('end', () => {
    if (request.headers.authorization === 'Bearer refused') {
      response.writeHead(403, { 'content-type': 'application/json' }).end(refusal)
      return
    }
    if (!request.url?.endsWith('/stream')) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let sent = 0; sent < EVENTS; sent++) response.write(event)
    response.end(last)
  })
})
await serveChild(server)
