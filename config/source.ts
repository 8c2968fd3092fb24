import { isAbsolute, relative } from 'node:path'

/** What errors call the place a configuration came from: the file as the user would type it. */
export function displayName(file: string | undefined, cwd: string): string {
  if (file === undefined) return 'config object'
  const typed = relative(cwd, file)
  return typed.startsWith('..') || isAbsolute(typed) ? file : typed
}
