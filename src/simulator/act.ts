import type { ServerResponse } from 'node:http'
import { type Answer, json } from './answer.js'
import { breakOff } from './break-off.js'
import { deliver } from './deliver.js'
import type { Fault, WireFault } from './fault.js'
import type { SimRequest } from './request.js'

/** Does the work of a request and answers it, unless its fault forbids the one or the other. */
export async function act(
  request: SimRequest,
  response: ServerResponse,
  fault: Fault | undefined,
  work: () => Answer,
  pauseMs: number,
): Promise<void> {
  if (typeof fault === 'function') return fault(request, response)
  if (fault === 'hang') return
  if (fault === 'reset') return breakOff(response)
  const answer = answerOf(fault, work)
  if (fault === 'mute') return
  if (fault === 'lost') return breakOff(response)
  const slow = answer.stream && pauseMs > 0 ? { pauseMs } : {}
  await deliver(response, answer, { ...slow, ...fault })
}

function answerOf(fault: 'lost' | 'mute' | WireFault | undefined, work: () => Answer): Answer {
  return (typeof fault === 'object' ? instead(fault) : undefined) ?? work()
}

/** What a fault answers in place of the work. */
export function instead({ status, body = '', headers = {} }: WireFault): Answer | undefined {
  return status === undefined ? undefined : { status, body, headers }
}

/** A script of the test's own threw: the caller hears it, instead of the whole process dying of it. */
export function scriptFailed(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error)
  return json(500, { error: { code: 'simulator_script_failed', message } })
}
