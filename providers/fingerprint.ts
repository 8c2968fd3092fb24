import { createHash } from 'node:crypto'

/** Recognises a value without keeping it. */
export function fingerprint(value: string): string {
  return createHash('sha256').update(value).digest('base64url')
}
