import { faults, geminiFaults, type Fault } from '../../../src/simulator/index.js'
import type { Front } from './fronts.js'
import { moves, networkDown, per, perForm, stays, type Row } from './row.js'

const MB = 1024 * 1024
const MODEL = ' for the model'

const limited = ({ google }: Front): Fault => (google ? geminiFaults.rateLimited(7) : faults.rateLimited(7))
const cut = ({ untilOutput }: Front): Fault => faults.cut(untilOutput)
const reset = (): Fault => 'reset'

const kept = perForm(
  moves('wait', 'cooling 7 s'),
  moves('wait', `cooling 7 s${MODEL}`),
  moves('wait', 'cooling 7 s'),
)

/** A body of 5 MB is kept, and one of 40 MB only where it must be rewritten: the others are sent once. */
export const bodies: readonly Row[] = [
  { fault: '429, with a body of 5 MB', does: limited, padding: 5 * MB, outcome: kept },
  {
    fault: 'reset before the head, with a body of 5 MB',
    does: reset,
    padding: 5 * MB,
    outcome: networkDown(502),
  },
  { fault: 'cut after output, with a body of 5 MB', does: cut, padding: 5 * MB, outcome: stays('broken') },
  {
    fault: '429, with a body of 40 MB',
    does: limited,
    padding: 40 * MB,
    outcome: per(
      stays('wait', 'cooling 7 s'),
      moves('wait', `cooling 7 s${MODEL}`),
      stays('wait', `cooling 7 s${MODEL}`),
      stays('wait', 'cooling 7 s'),
    ),
  },
  {
    fault: 'reset before the head, with a body of 40 MB',
    does: reset,
    padding: 40 * MB,
    outcome: per(stays('down 502'), networkDown(502), stays('down 502'), stays('down 502')),
  },
  { fault: 'cut after output, with a body of 40 MB', does: cut, padding: 40 * MB, outcome: stays('broken') },
]
