import { faults, geminiFaults, type WireFault } from '../../../src/simulator/index.js'
import type { Front } from './fronts.js'
import { again, moves, per, perForm, stays, trouble, type Outcome, type Row } from './row.js'

/** A refusal in the words of OpenAI or of Google. */
const worded =
  (openAi: WireFault, google: WireFault) =>
  (front: Front): WireFault =>
    front.google ? google : openAi

/** A refusal whose status says it all. */
const status = (status: number, message = 'no') =>
  worded({ status, body: { error: { message } } }, { status, body: { error: { code: status, message } } })

const login = moves('login', 'needs-login')
/** One account cools down; if all are refused, it is the upstream's trouble. */
const twiceThenCooling: Outcome = {
  one: { seen: 'answer', asked: 'a a b', state: 'cooling 1 s' },
  all: { seen: 'down 502', asked: 'a a b b', state: 'ready' },
}
const exhausted = moves('limit', 'exhausted 900 s')
const forbidden = moves('refused', 'refused 900 s for the model')
const refused = (status: number) => moves(`theirs ${status}`, 'refused 900 s for the model')

/** What an upstream can answer instead of the work, limits apart. */
export const refusals: readonly Row[] = [
  {
    fault: '401 once',
    does: worded(faults.unauthorized(), geminiFaults.unauthorized()),
    times: 1,
    outcome: per(again, again, trouble(502), trouble(502)),
  },
  {
    fault: '401 for good',
    does: worded(faults.unauthorized(), geminiFaults.unauthorized()),
    outcome: per(twiceThenCooling, twiceThenCooling, trouble(502), trouble(502)),
  },
  { fault: '402', does: status(402), outcome: exhausted },
  {
    fault: '402, the workspace is gone',
    does: () => faults.paymentRequired(),
    outcome: per(login, exhausted, exhausted, exhausted),
  },
  { fault: '403 challenge page', does: () => faults.challenge(), outcome: trouble(502) },
  {
    fault: '403 for the account',
    does: status(403),
    outcome: per(forbidden, forbidden, forbidden, moves('refused', 'ready')),
  },
  {
    fault: '403, the person must confirm who they are',
    does: () => geminiFaults.validationRequired(),
    outcome: per(forbidden, login, forbidden, moves('refused', 'ready')),
  },
  { fault: '400', does: status(400), outcome: stays('theirs 400') },
  {
    fault: '400 "model not available"',
    does: ({ model }) => faults.unsupportedModel(model),
    outcome: perForm(refused(400), stays('theirs 400'), stays('theirs 400')),
  },
  {
    fault: '404',
    does: status(404),
    outcome: perForm(moves('theirs 404', 'ready'), refused(404), moves('theirs 404', 'ready')),
  },
  { fault: '408', does: status(408), outcome: trouble(504) },
  {
    fault: '500',
    does: worded(faults.serverError(), geminiFaults.serverError()),
    outcome: trouble(502),
  },
  { fault: '502 as a page', does: () => faults.badGateway(), outcome: trouble(502) },
  {
    fault: '503 overloaded',
    does: worded(faults.overloaded(), geminiFaults.serverError(503)),
    outcome: trouble(503),
  },
  { fault: '529', does: status(529), outcome: trouble(503) },
]
