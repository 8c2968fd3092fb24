import assert from 'node:assert/strict'
import { test } from 'node:test'
import { poolView } from '../../src/admin/pool-view.js'
import type { PoolReport } from '../../src/admin/reports.js'
import { widthOf } from '../../src/cli/cells.js'
import { palette } from '../../src/cli/palette.js'
import { statusLines } from '../../src/cli/status-screen.js'
import { accountReport, inHours, NOW, window5h, window7d } from '../kit/report.js'

process.env.TZ = 'Europe/Berlin'

const REFUSAL =
  'This account is not eligible for Gemini Code Assist for individuals: your current account is not eligible for ' +
  'Gemini Code Assist in your location. See https://example.com/a/very/long/page/that/explains/all/of/it for more.'

const accounts: PoolReport['accounts'] = [
  accountReport('alice'),
  accountReport('bob-at-work-in-berlin-2', {
    state: 'exhausted',
    windows: [window5h(58, 2), window7d(97, 150)],
    reason: 'usage_limit_reached: The usage limit has been reached',
    resetsAt: inHours(2),
    cooldowns: [
      {
        kind: 'exhausted',
        reason: 'usage_limit_reached: The usage limit has been reached',
        since: inHours(-1),
        until: inHours(0.25),
        resetsAt: inHours(2),
      },
    ],
  }),
  accountReport('日本語', { windows: [{ ...window7d(12, 24 * 20), lengthMinutes: 30 * 24 * 60 }] }),
  accountReport('carol', { state: 'needs-login', windows: [], reason: 'refresh_token_reused' }),
  accountReport('gemini_grace', {
    provider: 'gemini',
    state: 'needs-login',
    windows: [],
    reason: REFUSAL,
  }),
  accountReport('gemini_henry', {
    provider: 'gemini',
    windows: [95, 20, 3].map((usedPercent, index) => ({
      name: `gemini-${index}`,
      model: `gemini-3-pro-preview-${index}`,
      usedPercent,
      resetsAt: inHours(20),
      source: 'poll',
      seenAt: inHours(-2),
    })),
  }),
]

const screenOf = (width: number): string[] => {
  const view = poolView({ accounts, forecast: { providers: {} } }, NOW)
  return statusLines(view, { width, now: NOW, palette: palette(false) })
}

const snapshots: Record<number, string> = {
  40: `
codex: yes, on alice and 日本語; gemini:
yes, on gemini_henry

carol login!
  needs a new login: codex-pool login
  codex (refresh_token_reused)
gemini_grace login!
  needs a new login: codex-pool login
  gemini (This account is not eligible
  for Gemini…)
bob-at-work-in-berlin-2 exhausted
  5h ███│░░  58% 15:00 2h
  7d │█████  97% 5 Dec 6d6h
  used up until 15:00 (in 2 h)
alice ready
  5h █░░│░░  20% 15:30     2h30m
  7d ██│░░░  30% Thu 17:00 4d4h
gemini_henry ready
  gemini…view-0 ██████  95% 09:00 20h
  gemini…view-1 █░░░░░  20% 09:00 20h
  and 1 more: codex-pool accounts gemin…
  quota as of 2 h ago
日本語 ready
  30d █░│░░░  12% 19 Dec 20d
quota as of 3 min to 2 h ago; █ used, │…
`,
  80: `
codex: yes, on alice and 日本語; gemini: yes, on gemini_henry

carol      login!    quota not known
  needs a new login: codex-pool login codex (refresh_token_reused)
gemin…race login!    quota not known
  needs a new login: codex-pool login gemini (This account is not eligible for …
bob-a…in-2 exhausted 5h  ███│░░  58% 15:00  2h    7d │█████  97% 5 Dec     6d6h
  used up until 15:00 (in 2 h)
alice      ready     5h  █░░│░░  20% 15:30  2h30m 7d ██│░░░  30% Thu 17:00 4d4h
gemin…enry ready     each model by itself
  gemini-3-pro-preview-0 ██████  95% 09:00 20h
  gemini-3-pro-preview-1 █░░░░░  20% 09:00 20h
  and 1 more: codex-pool accounts gemini_henry
  quota as of 2 h ago
日本語     ready     30d █░│░░░  12% 19 Dec 20d
quota as of 3 min to 2 h ago; █ used, │ at an even pace
`,
  120: `
codex: yes, on alice and 日本語; gemini: yes, on gemini_henry

carol                   codex  login!    quota not known
  needs a new login: codex-pool login codex (refresh_token_reused)
gemini_grace            gemini login!    quota not known
  needs a new login: codex-pool login gemini (This account is not eligible for Gemini…)
bob-at-work-in-berlin-2 codex  exhausted 5h  ██████│░░░  58% 15:00  2h    7d █│████████  97% 5 Dec     6d6h  3m ago
  used up until 15:00 (in 2 h)
alice                   codex  ready     5h  ██░░░│░░░░  20% 15:30  2h30m 7d ███░│░░░░░  30% Thu 17:00 4d4h  3m ago
gemini_henry            gemini ready     each model by itself                                                2h ago
  gemini-3-pro-preview-0 ██████████  95% 09:00 20h
  gemini-3-pro-preview-1 ██░░░░░░░░  20% 09:00 20h
  and 1 more: codex-pool accounts gemini_henry
  quota as of 2 h ago
日本語                  codex  ready     30d █░░│░░░░░░  12% 19 Dec 20d                                      3m ago
quota as of 3 min to 2 h ago; █ used, │ at an even pace
`,
}

for (const [width, expected] of Object.entries(snapshots))
  test(`status on a screen of ${width} columns`, () => {
    assert.equal(`\n${screenOf(Number(width)).join('\n')}\n`, expected)
  })

test('no line of status is wider than its screen', () => {
  for (let width = 40; width <= 160; width++)
    for (const line of screenOf(width)) assert.ok(widthOf(line) <= width, `${width}: ${line}`)
})
