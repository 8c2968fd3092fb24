import { parseArgs } from 'node:util'
import { runFuzz } from './run-fuzz.js'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now()) },
  },
})
const [cases, seed] = [Number(values.cases), Number(values.seed)]
console.log(`${cases} cases, --seed ${seed}`)
console.log(JSON.stringify(await runFuzz({ cases, seed }), undefined, 2))
