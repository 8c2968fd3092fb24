import { randomBytes } from 'node:crypto'
import { field, text } from '../json.js'
import { countTokens } from '../model.js'
import type { SimRequest } from '../request.js'
import { type Answer, json, type World } from '../upstream.js'
import { foreignResource, googleError } from './refusals.js'

interface Resource {
  readonly owner: string
  readonly content: object
}

/** An upload that has begun, and the parts that have come. */
interface Upload extends Resource {
  readonly parts: Buffer[]
}

/**
 * The files and cached contents of the Gemini API. Only the key that made one may read it, delete it, or name it in a
 * generation.
 */
export class KeyResources {
  readonly #world: World
  /** By name: `files/…`, `cachedContents/…`. */
  readonly #resources = new Map<string, Resource>()
  /** Uploads that have begun, with the key that began each and the fields of its file. */
  readonly #uploads = new Map<string, Upload>()
  /** The bytes of the files. */
  readonly #bytes = new Map<string, Buffer>()

  constructor(world: World) {
    this.#world = world
  }

  /** Id of the key that began the upload which a request goes on with. */
  uploaderOf({ query }: SimRequest): string | undefined {
    return this.#uploads.get(query.get('upload_id') ?? '')?.owner
  }

  /** Answers a call about files or cached contents; `undefined` for another one. */
  answer(request: SimRequest, call: string, owner: string): Answer | undefined {
    if (request.path.startsWith('/upload/')) return this.#upload(request, owner)
    const download = /^GET (files\/[\w-]+):download$/.exec(call)?.[1]
    if (download !== undefined) return this.#download(download, owner)
    if (call === 'POST cachedContents') return json(200, this.#cache(request, owner))
    const [, method, name = ''] =
      /^(GET|PATCH|DELETE|POST) ((?:files|cachedContents)(?:\/[\w-]+)?)$/.exec(call) ?? []
    if (method === undefined) return undefined
    if (method === 'GET' && !name.includes('/')) return json(200, { [name]: this.#owned(name, owner) })
    const refusal = this.#refuse(name, owner)
    if (refusal) return refusal
    if (method === 'DELETE') this.#resources.delete(name)
    return json(200, method === 'DELETE' ? {} : this.#resources.get(name)?.content)
  }

  /** Refuses a generation that names a file or a cached content of another key. */
  refusal(body: unknown, owner: string): Answer | undefined {
    for (const name of [text(body, 'cachedContent') ?? [], filesIn(field(body, 'contents'))].flat()) {
      const refusal = this.#refuse(name, owner)
      if (refusal) return refusal
    }
    return undefined
  }

  /** A resumable upload: the first request is answered with the address of the others. */
  #upload(request: SimRequest, owner: string): Answer {
    const { headers, query, path } = request
    const command = String(headers['x-goog-upload-command'] ?? '')
    const id = query.get('upload_id')
    if (id === null) {
      if (command !== 'start' || headers['x-goog-upload-protocol'] !== 'resumable') return badUpload
      const upload_id = randomBytes(12).toString('base64url')
      const content = { ...(field(request.json, 'file') as object) }
      this.#uploads.set(upload_id, { owner, content, parts: [] })
      const url = `http://${headers.host}${path}?upload_id=${upload_id}&upload_protocol=resumable`
      return {
        status: 200,
        headers: { 'x-goog-upload-status': 'active', 'x-goog-upload-url': url },
        body: '',
      }
    }
    const upload = this.#uploads.get(id)
    if (!upload || upload.owner !== owner) return foreignResource('Upload is not valid for this key.')
    return this.#part(request, command, id, upload)
  }

  /** One part of an upload; the command of the last one says `finalize`. */
  #part({ headers, raw }: SimRequest, command: string, id: string, upload: Upload): Answer {
    const { owner, content, parts } = upload
    const begun = Buffer.concat(parts).length
    if (!command.startsWith('upload') || Number(headers['x-goog-upload-offset']) !== begun) return badUpload
    parts.push(raw)
    if (!command.includes('finalize'))
      return { status: 200, headers: { 'x-goog-upload-status': 'active' }, body: '' }
    this.#uploads.delete(id)
    const name = `files/${randomBytes(6).toString('hex')}`
    const uri = `http://${headers.host}/v1beta/${name}`
    const bytes = Buffer.concat(parts)
    const file = { ...content, name, uri, sizeBytes: String(bytes.length), state: 'ACTIVE' }
    this.#resources.set(name, { owner, content: file })
    this.#bytes.set(name, bytes)
    return json(200, { file }, { 'x-goog-upload-status': 'final' })
  }

  #download(name: string, owner: string): Answer {
    const bytes = this.#bytes.get(name)?.toString('latin1')
    return (
      this.#refuse(name, owner) ?? { status: 200, headers: { 'content-type': 'text/plain' }, body: bytes }
    )
  }

  #cache({ json: body }: SimRequest, owner: string): object {
    const name = `cachedContents/${randomBytes(8).toString('hex')}`
    const expireTime = new Date(this.#world.now() + 3_600_000).toISOString()
    const usageMetadata = { totalTokenCount: countTokens(field(body, 'contents')) }
    const content = { name, model: text(body, 'model'), expireTime, usageMetadata }
    this.#resources.set(name, { owner, content })
    return content
  }

  #owned(kind: string, owner: string): object[] {
    const all = [...this.#resources].filter(([name, it]) => it.owner === owner && name.startsWith(`${kind}/`))
    return all.map(([, { content }]) => content)
  }

  #refuse(name: string, owner: string): Answer | undefined {
    if (this.#resources.get(name)?.owner === owner) return undefined
    const [kind, id] = name.split('/')
    return foreignResource(
      kind === 'files'
        ? `You do not have permission to access the File ${id} or it may not exist.`
        : 'CachedContent not found (or permission denied)',
    )
  }
}

const badUpload = googleError({
  code: 400,
  status: 'INVALID_ARGUMENT',
  message: 'The command, the protocol or the offset of the upload is not right.',
})

/** The names of the files in a prompt: `files/ID` of each `fileUri`. */
function filesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    /^file_?uri$/i.test(name) ? (/\bfiles\/[\w-]+/.exec(String(inner))?.[0] ?? []) : filesIn(inner),
  )
}
