import type { ServerResponse } from 'node:http'

const ours = new WeakSet<ServerResponse>()

/** Destroys the connection on the simulator's side, which says nothing about the client. */
export function breakOff(response: ServerResponse): void {
  ours.add(response)
  response.destroy()
}

/** Whether the connection ended before the answer did, and not by us. */
export function clientLeft(response: ServerResponse): boolean {
  return response.closed && !response.writableFinished && !ours.has(response)
}
