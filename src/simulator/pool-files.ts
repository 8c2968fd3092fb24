import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Name, without `.json`, and content. */
export type CredentialFile = readonly [name: string, content: object]

/** Writes credential files, readable by their owner only. Returns the paths in order. */
export async function writePoolFiles(dir: string, files: readonly CredentialFile[]): Promise<string[]> {
  await mkdir(dir, { recursive: true })
  return Promise.all(files.map((file) => writeCredential(dir, file)))
}

async function writeCredential(dir: string, [name, content]: CredentialFile): Promise<string> {
  const path = join(dir, `${name}.json`)
  await writeFile(path, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  return path
}
