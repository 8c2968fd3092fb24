import { Agent, createServer, request as ask } from 'node:http'
import { serveChild } from './child.js'

/** Runs as a process of its own: the least that a proxy can do on Node. What the gateway does beyond it is its price. */
const [upstream = ''] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true })

const server = createServer((request, response) => {
  const { method, headers } = request
  const forwarded = ask(new URL(request.url ?? '/', upstream), { method, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    answer.pipe(response)
  })
  forwarded.on('error', () => response.destroy())
  request.pipe(forwarded)
})
await serveChild(server)
