import type { AccountView, PoolView, ProblemView, ProviderView, WindowView } from '../admin/pool-view.js'
import type { OutlookReport } from '../admin/reports.js'
import { bar, cut, cutMiddle, padded, paddedLeft, widthOf } from './cells.js'
import type { Palette } from './palette.js'
import { clock, clockAndSpan, shortClock, shortSpan, span } from './times.js'

export interface Screen {
  /** Columns. */
  readonly width: number
  readonly now: number
  readonly palette: Palette
}

/** Below this a row has no room for two windows, and each gets a line. */
const ROW = 78
/** From here on a row also has the provider and the age of the report. */
const WIDE = 104
/** A report of quota that is older is told beside its account; ms. */
const OLD_MS = 15 * 60_000

/** The pool on a screen: whether one can work, then the accounts. */
export function statusLines(view: PoolView, screen: Screen): string[] {
  const rows = screen.width < ROW ? stackedRows(view, screen) : tableRows(view, screen)
  return [...headline(view, screen), '', ...rows, ...legend(view, screen), ...outlooks(view, screen)]
}

/** The first line, broken where the screen is narrow. */
function headline({ providers }: PoolView, screen: Screen): string[] {
  const clauses = providers.map((provider) => clauseOf(provider, screen.now))
  const line = clauses.join('; ')
  const { strong, good, warning, bad } = screen.palette
  const worst = Math.max(...providers.map(({ works }) => ['yes', 'perhaps', 'later', 'never'].indexOf(works)))
  const paint = [good, warning, warning, bad][worst] ?? strong
  return wrapped(line, screen.width).map((part) => strong(paint(part)))
}

/** Whether one provider can serve: `codex: yes, on alice and bob`. */
export function clauseOf(view: ProviderView, now: number): string {
  const { provider, works, at, lookAt, because, command, without } = view
  const who = names(view.on)
  const many = view.on.length > 1
  const when = at === undefined ? undefined : clockAndSpan(at, now)
  const not = without.map(({ model, at: back }) =>
    back === undefined ? `not for ${model}` : `not for ${model} before ${clockAndSpan(back, now)}`,
  )
  const said = (text: string) => [`${provider}: ${text}`, ...not].join(', ')
  if (works === 'yes' && because === 'busy') return said(`yes, once ${many ? `one of ${who}` : who} has room`)
  if (works === 'yes') return said(`yes, on ${who}${because === 'credits' ? ', on credits' : ''}`)
  if (works === 'perhaps') {
    const until = when === undefined ? '' : ` until ${when}`
    return said(`perhaps, on ${who}: reported as used up${until}`)
  }
  if (works === 'later' && when !== undefined) return said(`no, at ${when} on ${who}`)
  if (works === 'later') {
    const again = lookAt === undefined ? '' : ` at ${clockAndSpan(lookAt, now)}`
    return said(`no, and it is not known when: ${who} ${many ? 'are' : 'is'} asked again${again}`)
  }
  if (because === 'disabled') return said(`no, disabled: ${command}`)
  if (command === undefined)
    return said(`no, the credential of ${who} is refused: put a good one into its file`)
  return said(`no, ${who} ${many ? 'need new logins' : 'needs a new login'}: ${command}`)
}

function names(ids: readonly string[]): string {
  if (ids.length > 3) return `${ids.slice(0, 2).join(', ')} and ${ids.length - 2} more`
  return ids.length > 1 ? `${ids.slice(0, -1).join(', ')} and ${ids.at(-1)}` : (ids[0] ?? 'none')
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1) ?? ''} ${word}`.trimStart()
    if (lines.length > 0 && widthOf(longer) <= width) lines[lines.length - 1] = longer
    else lines.push(cut(word, width))
  }
  return lines
}

function legend({ accounts }: PoolView, { now, width, palette }: Screen): string[] {
  const reports = accounts.flatMap(({ asOf }) => asOf ?? []).toSorted()
  const ages = [reports.at(-1), reports[0]].flatMap((time) =>
    time === undefined ? [] : span(Math.max(0, now - Date.parse(time))),
  )
  if (ages.length === 0) return []
  const age = [...new Set(ages)].join(' to ')
  return [palette.faint(cut(`quota as of ${age} ago; █ used, │ at an even pace`, width))]
}

/** What is to be expected of the accounts of a provider together, and of the pool. */
function outlooks({ providers, outlook }: PoolView, { now, width }: Screen): string[] {
  const told = [...providers, { provider: 'the pool', outlook }]
  return told.flatMap(({ provider, outlook }) =>
    outlook === undefined
      ? []
      : [cut(`${provider}, ${outlook.accounts} accounts: ${outlookText(outlook, now)}`, width)],
  )
}

/** `2.5 %/h, runs dry at Sun 14:05 (in 3 d 4 h)` */
function outlookText(
  { percentPerHour, runsDryAt, unusedPercent, resetsAt }: OutlookReport,
  now: number,
): string {
  const end =
    runsDryAt === undefined
      ? `${unusedPercent} % will expire unused by ${clock(resetsAt, now)}`
      : `runs dry at ${clockAndSpan(runsDryAt, now)}`
  return `${percentPerHour} %/h, ${end}`
}

/** A row for each account, two windows in it. */
function tableRows({ accounts }: PoolView, screen: Screen): string[] {
  const isWide = screen.width >= WIDE
  const cells = isWide ? 10 : 6
  const labels = [0, 1].map((index) => mostOf(accounts, ({ windows }) => labelOf(windows[index]).length))
  const clocks = [0, 1].map((index) =>
    mostOf(accounts, ({ windows }) => clockOf(windows[index], screen).length),
  )
  const columns = [0, 1].map((index) => ({ label: labels[index]!, bar: cells, clock: clocks[index]! }))
  const windowWidth = columns.reduce((sum, column) => sum + widthOfColumn(column) + 1, 0)
  const provider = isWide ? mostOf(accounts, ({ provider }) => widthOf(provider)) + 1 : 0
  const age = isWide ? 8 : 0
  const room = screen.width - windowWidth - STATE - 1 - provider - age
  const name = Math.max(
    6,
    Math.min(
      room,
      mostOf(accounts, ({ id }) => widthOf(id)),
    ),
  )
  return accounts.flatMap((account) => {
    const windows = columns.map((column, index) => windowCell(account.windows[index], column, screen))
    const seen = account.asOf === undefined ? '' : `${shortSpan(screen.now - Date.parse(account.asOf))} ago`
    const row = [
      padded(cutMiddle(account.id, name), name),
      ...(isWide ? [padded(account.provider, provider - 1)] : []),
      stateCell(account, screen),
      ...(account.windows.length > 0 ? windows : [unknownQuota(account, windowWidth - 1, screen)]),
      ...(isWide ? [screen.palette.faint(seen)] : []),
    ]
    return [row.join(' ').trimEnd(), ...below(account, columns[0]!, screen)]
  })
}

function unknownQuota({ modelWindows }: AccountView, width: number, { palette }: Screen): string {
  return palette.faint(padded(modelWindows.length > 0 ? 'each model by itself' : 'quota not known', width))
}

/** Two lines and more for each account, on a narrow screen. */
function stackedRows({ accounts }: PoolView, screen: Screen): string[] {
  return accounts.flatMap((account) => {
    const column = {
      label: mostOf(account.windows, (window) => labelOf(window).length),
      bar: 6,
      clock: mostOf(account.windows, (window) => clockOf(window, screen).length),
    }
    const name = cutMiddle(account.id, screen.width - STATE - 1)
    return [
      `${name} ${stateCell(account, screen).trimEnd()}`,
      ...account.windows.map((window) => `  ${windowCell(window, column, screen).trimEnd()}`),
      ...below(account, column, screen),
    ]
  })
}

/** What stands under an account: the windows of models, and what is wrong. */
function below(account: AccountView, { bar }: Column, screen: Screen): string[] {
  const { width, palette, now } = screen
  const old = account.asOf !== undefined && now - Date.parse(account.asOf) > OLD_MS
  const aged = old ? [`quota as of ${span(now - Date.parse(account.asOf!))} ago`] : []
  const wrong = [...account.problems.map((problem) => problemText(problem, now)), ...aged].join('; ')
  const paint = account.needsHand ? palette.bad : account.state === 'ready' ? palette.faint : palette.warning
  const lines = wrong === '' ? [] : width < ROW ? wrapped(wrong, width - 2) : [cut(wrong, width - 2)]
  return [...modelRows(account, bar, screen), ...lines.map((line) => `  ${paint(line)}`)]
}

function modelRows({ id, modelWindows }: AccountView, bar: number, screen: Screen): string[] {
  const shown = modelWindows.slice(0, MODELS)
  const column = {
    label: mostOf(shown, (window) => labelOf(window).length),
    bar,
    clock: mostOf(shown, (window) => clockOf(window, screen).length),
  }
  const room = screen.width - widthOfColumn(column) - 3
  const name = Math.min(
    room,
    mostOf(shown, ({ model = '' }) => widthOf(model)),
  )
  const rows = shown.map((window) => {
    const model = padded(cutMiddle(window.model!, name), name)
    return `  ${model} ${windowCell(window, column, screen)}`.trimEnd()
  })
  const more = modelWindows.length - shown.length
  const rest = cut(`  and ${more} more: codex-pool accounts ${id}`, screen.width)
  return more > 0 ? [...rows, screen.palette.faint(rest)] : rows
}

/** Windows of models that a row shows. */
const MODELS = 2

export function problemText({ text, at, command, why }: ProblemView, now: number): string {
  const told = at === undefined ? text.replace(/(: rests)? until$/, '') : `${text} ${clockAndSpan(at, now)}`
  return [told, command && `: ${command}`, why && ` (${why})`].filter(Boolean).join('')
}

/** The longest state that a row shows has nine letters. */
const STATE = 9

function stateCell({ state, needsHand }: AccountView, { palette }: Screen): string {
  const text = padded(state === 'needs-login' ? 'login!' : state, STATE)
  if (needsHand) return palette.bad(text)
  if (state === 'ready') return palette.good(text)
  return state === 'disabled' ? palette.faint(text) : palette.warning(text)
}

/** Widths of what a window shows. */
interface Column {
  readonly label: number
  readonly bar: number
  readonly clock: number
}

/** Label, bar, `100%`, clock and span, with a blank between two of them. */
const widthOfColumn = ({ label, bar, clock }: Column): number => label + bar + 4 + clock + SPAN + 4

/** `6d23h` */
const SPAN = 5

function windowCell(window: WindowView | undefined, column: Column, screen: Screen): string {
  if (!window) return ' '.repeat(widthOfColumn(column))
  const { usedPercent, expectedPercent, resetsAt } = window
  const left = resetsAt === undefined ? '' : shortSpan(Math.max(0, Date.parse(resetsAt) - screen.now))
  const used = usedPercent === undefined ? '?' : `${Math.round(usedPercent)}%`
  const drawn = bar(usedPercent ?? 0, column.bar, expectedPercent)
  return [
    ...(column.label > 0 ? [padded(labelOf(window), column.label)] : []),
    usedPercent === undefined ? screen.palette.faint(drawn) : colourOf(window, screen.palette)(drawn),
    paddedLeft(used, 4),
    padded(clockOf(window, screen), column.clock),
    padded(left, SPAN),
  ].join(' ')
}

function colourOf({ usedPercent = 0, expectedPercent = 100 }: WindowView, palette: Palette): Palette['good'] {
  if (usedPercent >= 90) return palette.bad
  return usedPercent > expectedPercent ? palette.warning : palette.good
}

const labelOf = (window: WindowView | undefined): string => window?.label.replace(' ', '').slice(0, 8) ?? ''

const clockOf = (window: WindowView | undefined, { now }: Screen): string =>
  window?.resetsAt === undefined ? '' : shortClock(window.resetsAt, now)

function mostOf<T>(items: readonly T[], size: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, size(item)), 0)
}

/** One account in full. */
export function accountLines(account: AccountView, screen: Screen): string[] {
  const { id, provider, plan, reason, windows, modelWindows, problems, asOf } = account
  const { now, palette } = screen
  const all = [...windows, ...modelWindows]
  const name = mostOf(all, (window) => widthOf(fullLabel(window)))
  const shown = all.map((window) => {
    const { usedPercent, expectedPercent, resetsAt, outlook } = window
    const used = usedPercent === undefined ? 'use not known' : `${Math.round(usedPercent)} % used`
    const pace = expectedPercent === undefined ? '' : `, ${Math.round(expectedPercent)} % at an even pace`
    const end = resetsAt === undefined ? '' : `, resets at ${clockAndSpan(resetsAt, now)}`
    const dry = outlook === undefined ? '' : `, ${outlookText(outlook, now)}`
    const drawn = bar(usedPercent ?? 0, 10, expectedPercent)
    return `  ${padded(fullLabel(window), name)}  ${colourOf(window, palette)(drawn)}  ${used}${pace}${end}${dry}`
  })
  return [
    `${palette.strong(id)} (${[provider, plan].filter(Boolean).join(', ')}): ${stateCell(account, screen).trimEnd()}`,
    ...problems.map((problem) => `  ${problemText(problem, now)}`),
    ...(reason === undefined ? [] : [`  reason: ${reason}`]),
    ...shown,
    ...(asOf === undefined
      ? ['  no quota is known']
      : [`  quota as of ${clock(asOf, now)} (${span(now - Date.parse(asOf))} ago)`]),
  ]
}

const fullLabel = ({ label, model }: WindowView): string =>
  model === undefined ? label : `${model}, ${label}`
