import { setMaxListeners } from 'node:events'

/**
 * A signal that aborts after `ms` with a `TimeoutError`, or together with `parent`. The timer holds the signal:
 * `AbortSignal.any([AbortSignal.timeout(ms), …])` may be collected on Node 20 before it fires, and a call to a hanging
 * upstream then never ends (nodejs/node#54614). The timer does not keep the process alive.
 */
export function deadline(ms: number, parent?: AbortSignal): AbortSignal {
  const controller = new AbortController()
  const { signal } = controller
  if (parent?.aborted) controller.abort(parent.reason)
  else if (parent) {
    // A look at a pool of many accounts is as many calls at a time: lifts Node's warning about more than ten.
    setMaxListeners(0, parent)
    parent.addEventListener('abort', () => controller.abort(parent.reason), { once: true, signal })
  }
  const late = () => controller.abort(new DOMException(`no answer within ${ms} ms`, 'TimeoutError'))
  if (!signal.aborted) setTimeout(late, ms).unref()
  return signal
}
