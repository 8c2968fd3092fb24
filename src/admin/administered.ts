import type { SkippedFile } from '../accounts/registry.js'
import type { AccountReport } from './account-report.js'

/** What can be asked of a gateway. */
export interface Administered {
  accounts(): readonly AccountReport[]
  skipped(): readonly SkippedFile[]
  warnings(): readonly SkippedFile[]
  setDisabled(id: string, disabled: boolean): AccountReport | undefined
  reload(): Promise<ReloadReport>
}

export interface ReloadReport {
  readonly poolDir: string
  readonly accounts: number
  readonly skipped: readonly SkippedFile[]
  /** Why the running configuration was kept; the accounts were read again all the same. */
  readonly configProblem?: string | undefined
}
