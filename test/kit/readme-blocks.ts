import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Folder of the checkout, wherever the compiled tests lie. */
export const root = findRoot(import.meta.dirname)

function findRoot(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : findRoot(dirname(folder))
}

/** The files that a text shows: its code blocks that name one behind their language, as in "```ts app.ts". */
export function filesIn(markdown: string): Map<string, string> {
  const blocks = markdown.matchAll(/^```\w+ ([^\n]+)\n(.*?)^```$/gms)
  return new Map([...blocks].map(([, name, text]) => [name!, text!]))
}

/** The files that a page of the checkout shows. */
export const docFiles = (page: string): Map<string, string> => filesIn(readFileSync(join(root, page), 'utf8'))

/** The variables that a block for the shell sets. */
export const variablesIn = (block: string): Record<string, string> =>
  Object.fromEntries([...block.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]))

export const readmeText = readFileSync(join(root, 'README.md'), 'utf8')

export const readmeFiles = filesIn(readmeText)

/** One of them. @throws if the README shows no such file */
export function readmeFile(name: string): string {
  const text = readmeFiles.get(name)
  if (text === undefined) throw new Error(`the README shows no ${name}`)
  return text
}
