/** One quota window of a Codex account. All fields may be changed at any time. */
export interface CodexWindow {
  /** 0 to 100. */
  usedPercent: number
  windowMinutes: number
  /** ms since 1970; when it passes, the window starts again at 0. */
  resetsAt: number
  /** What one model request uses up. */
  percentPerRequest: number
}

export type WindowName = 'primary' | 'secondary'

export interface CodexCredits {
  hasCredits: boolean
  unlimited: boolean
  balance: string
}

/** A plan may have one window only. */
export type CodexWindows = { primary: CodexWindow; secondary: CodexWindow | undefined }

const DEFAULTS: Record<WindowName, Omit<CodexWindow, 'resetsAt'>> = {
  primary: { usedPercent: 0, windowMinutes: 300, percentPerRequest: 1 },
  secondary: { usedPercent: 0, windowMinutes: 10_080, percentPerRequest: 0.2 },
}

export function openWindow(name: WindowName, given: Partial<CodexWindow>, now: number): CodexWindow {
  const window = { ...DEFAULTS[name], ...given }
  return { ...window, resetsAt: given.resetsAt ?? now + window.windowMinutes * 60_000 }
}

export function openWindows(
  primary: Partial<CodexWindow> = {},
  secondary: Partial<CodexWindow> | false = {},
  now: number,
): CodexWindows {
  return {
    primary: openWindow('primary', primary, now),
    secondary: secondary === false ? undefined : openWindow('secondary', secondary, now),
  }
}

/** Starts windows again whose time has passed. */
export function roll(windows: CodexWindows, now: number): void {
  for (const window of [windows.primary, windows.secondary]) {
    if (!window || now < window.resetsAt) continue
    window.usedPercent = 0
    window.resetsAt = now + window.windowMinutes * 60_000
  }
}

export function spend(windows: CodexWindows): void {
  for (const window of [windows.primary, windows.secondary]) {
    if (window) window.usedPercent = Math.min(100, window.usedPercent + window.percentPerRequest)
  }
}

/** The full window that is full for longest, if one is. */
export function fullWindow(windows: CodexWindows): CodexWindow | undefined {
  const full = [windows.primary, windows.secondary].filter((window) => window && window.usedPercent >= 100)
  return full.reduce(
    (late, window) => (late && window && late.resetsAt > window.resetsAt ? late : window),
    undefined,
  )
}
