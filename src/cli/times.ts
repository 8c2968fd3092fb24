const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** A time by the clock of the viewer, as short as it is clear: `14:05`, `Sun 14:05`, `12 Dec 14:05`. */
export function clock(time: number | string, now: number): string {
  const date = new Date(time)
  const hour = `${two(date.getHours())}:${two(date.getMinutes())}`
  const ahead = date.getTime() - now
  if ((ahead >= 0 && ahead < DAY) || date.toDateString() === new Date(now).toDateString()) return hour
  if (ahead > 0 && ahead < 6 * DAY) return `${DAYS[date.getDay()]} ${hour}`
  const isFar = Math.abs(ahead) > 300 * DAY
  return `${dayOf(date)} ${isFar ? `${date.getFullYear()} ` : ''}${hour}`
}

/** The same for a narrow column: of a day that is far off, the day alone. */
export function shortClock(time: number | string, now: number): string {
  return clock(time, now).replace(/^(\d.* .*) .*/, '$1')
}

export function dayOf(date: Date): string {
  return `${date.getDate()} ${MONTHS[date.getMonth()]}`
}

const two = (number: number): string => String(number).padStart(2, '0')

/** `2 h 10 min`, `3 d 4 h`, `12 min`, `40 s` */
export function span(ms: number): string {
  if (ms < MINUTE) return `${Math.max(0, Math.round(ms / 1000))} s`
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`
  const [large, small, unit, subunit] = ms < DAY ? [HOUR, MINUTE, 'h', 'min'] : [DAY, HOUR, 'd', 'h']
  const rest = Math.floor((ms % large) / small)
  return `${Math.floor(ms / large)} ${unit}${rest > 0 ? ` ${rest} ${subunit}` : ''}`
}

/** The same for a narrow column: `2h10m`. */
export function shortSpan(ms: number): string {
  return span(ms).replace(' min', 'm').replaceAll(' ', '')
}

/** `14:05 (in 2 h 10 min)` */
export function clockAndSpan(time: string, now: number): string {
  const left = Date.parse(time) - now
  return left > 0 ? `${clock(time, now)} (in ${span(left)})` : `${clock(time, now)} (${span(-left)} ago)`
}
