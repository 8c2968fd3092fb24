import { confirm, isCancel, select } from '@clack/prompts'
import { refusal } from './output.js'

/** Whether there is a person to ask. */
export const isAsked = (): boolean => process.stdin.isTTY && process.stdout.isTTY

/** Asks for yes or no. @throws if the person leaves the question (Ctrl-C) */
export async function askYesNo(message: string, initialValue: boolean): Promise<boolean> {
  const answer = await confirm({ message, initialValue })
  if (isCancel(answer)) throw left()
  return answer
}

/** Asks which of a few. @throws if the person leaves the question (Ctrl-C) */
export async function askWhich(message: string, choices: Readonly<Record<string, string>>): Promise<string> {
  const options = Object.entries(choices).map(([value, label]) => ({ value, label }))
  const answer = await select({ message, options })
  if (isCancel(answer)) throw left()
  return answer
}

const left = (): Error => refusal('cancelled', 'cancelled: nothing more was changed')
