import { styleText } from 'node:util'

/** Gives a text a colour, or leaves it as it is. */
export interface Palette {
  readonly good: Paint
  readonly warning: Paint
  readonly bad: Paint
  readonly strong: Paint
  readonly faint: Paint
}

type Paint = (text: string) => string

type Style = Parameters<typeof styleText>[0]

export function palette(inColour: boolean): Palette {
  const paint = (style: Style): Paint => (inColour ? (text) => styled(style, text) : (text) => text)
  return {
    good: paint('green'),
    warning: paint('yellow'),
    bad: paint('red'),
    strong: paint('bold'),
    faint: paint('dim'),
  }
}

/** Newer versions of Node.js would look at the stream by themselves, by rules of their own. */
const styled = (style: Style, text: string): string => styleText(style, text, { validateStream: false })

/** Whether the output is to be coloured: FORCE_COLOR decides, then NO_COLOR (https://no-color.org), then the terminal. */
export function wantsColour(env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  const { FORCE_COLOR, NO_COLOR, TERM } = env
  if (FORCE_COLOR !== undefined) return !['0', 'false'].includes(FORCE_COLOR)
  return !NO_COLOR && isTerminal && TERM !== 'dumb'
}
