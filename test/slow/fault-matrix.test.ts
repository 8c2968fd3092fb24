import { test } from 'node:test'
import { fullSize } from '../kit/size.js'
import { bodies } from './fault-matrix/bodies.js'
import { connections } from './fault-matrix/connections.js'
import { fronts } from './fault-matrix/fronts.js'
import { limits } from './fault-matrix/limits.js'
import { refusals } from './fault-matrix/refusals.js'
import { scopes } from './fault-matrix/row.js'
import { runCell } from './fault-matrix/run-cell.js'
import { streams } from './fault-matrix/streams.js'

const rows = [...connections, ...refusals, ...limits, ...streams, ...bodies]
const cells = rows.flatMap((row, index) => {
  const ofRow = fronts.flatMap((front) => scopes.map((scope) => ({ row, front, scope })))
  // The short form meets every fault once; the step goes round all fronts and both scopes.
  return fullSize ? ofRow : ofRow.slice(index % ofRow.length, (index % ofRow.length) + 1)
})

for (const { row, front, scope } of cells)
  test(
    `${row.fault}: ${front.name}, ${scope === 'one' ? 'one of two accounts' : 'all accounts'}`,
    { timeout: 60_000 },
    (t) => runCell(t, row, front, scope),
  )
