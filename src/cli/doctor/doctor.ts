import { ConfigError } from '../../../config/index.js'
import { colours, print, printJson, printStyled } from '../output.js'
import { ownName } from '../own-name.js'
import type { CommonOptions } from '../pool-folder.js'
import { codexChecks } from './codex-checks.js'
import { geminiChecks } from './gemini-checks.js'
import { divertingProxy, oldGateway, oldNode, takenPort, upstreams, wrongClock } from './machine-checks.js'
import {
  endedLogins,
  fullDisk,
  gitTakesPool,
  ignoredConfig,
  noAccount,
  openModes,
  sharedUser,
  twoPools,
  unusableFiles,
} from './pool-checks.js'
import type { Check, Problem } from './problem.js'
import { lookAround } from './scene.js'

interface DoctorOptions {
  readonly fix?: boolean
  readonly online?: boolean
  readonly json?: boolean
}

/** In the order in which problems of one severity are told. */
const checks: readonly Check[] = [
  oldNode,
  fullDisk,
  wrongClock,
  divertingProxy,
  takenPort,
  noAccount,
  endedLogins,
  codexChecks,
  geminiChecks,
  unusableFiles,
  openModes,
  gitTakesPool,
  ignoredConfig,
  twoPools,
  sharedUser,
  oldGateway,
]

/** `codex-pool doctor`: what is wrong, worst first, and the command that mends it. */
export async function doctor(options: CommonOptions, { fix, online, json }: DoctorOptions): Promise<void> {
  const problems = await examine(options, online)
  const fixed = fix ? await mend(problems) : []
  const left = problems.filter((problem) => !fixed.includes(problem))
  if (json) printJson({ problems: left.map(plain), fixed: fixed.map(plain) })
  else tell(left, fixed)
  process.exitCode = statusOf(left)
}

/** Every problem, the worst first. */
export async function examine(options: CommonOptions, online?: boolean): Promise<Problem[]> {
  const scene = await lookAround(options).catch((error: unknown) => unusable(error))
  if ('code' in scene) return [scene]
  const found = await Promise.all([...checks, ...(online ? [upstreams] : [])].map((check) => check(scene)))
  // Sorting is stable: within one severity the order of the checks stays.
  return found.flat().sort((a, b) => rank(a) - rank(b))
}

const rank = ({ severity }: Problem): number => (severity === 'error' ? 0 : 1)

/** 1 if something does not work, 4 if all works for now. */
const statusOf = (problems: readonly Problem[]): number =>
  problems.length === 0 ? 0 : rank(problems[0]!) === 0 ? 1 : 4

/** Without a configuration nothing else can be looked at. */
function unusable(error: unknown): Problem {
  if (!(error instanceof ConfigError)) throw error
  return {
    code: 'unusable_config',
    severity: 'error',
    what: error.message,
    why: 'the gateway does not start with this configuration',
    command: `${ownName()} check`,
  }
}

async function mend(problems: readonly Problem[]): Promise<Problem[]> {
  const mended: Problem[] = []
  for (const problem of problems)
    if (
      problem.fix &&
      (await problem.fix().then(
        () => true,
        () => false,
      ))
    )
      mended.push(problem)
  return mended
}

const plain = ({ code, severity, what, why, command }: Problem) => ({ code, severity, what, why, command })

function tell(problems: readonly Problem[], fixed: readonly Problem[]): void {
  for (const { what, command } of fixed) print(`mended: ${what}   (${command})`)
  for (const { severity, what, why, command } of problems) {
    const paint = severity === 'error' ? colours.bad : colours.warning
    printStyled(`${paint(severity)}: ${oneLine(what)}\n  why: ${oneLine(why)}\n  do:  ${oneLine(command)}`)
  }
  if (problems.length === 0) print('Nothing is wrong.')
  else if (problems.some(({ fix }) => fix)) print(`${ownName()} doctor --fix does what is safe of this.`)
}

const oneLine = (text: string): string => text.replaceAll('\u001b', '')
