import { randomBytes } from 'node:crypto'
import { field, text } from '../json.js'
import { countTokens } from '../model.js'
import type { SimRequest } from '../request.js'
import { type Answer, json, type World } from '../upstream.js'
import { foreignResource } from './refusals.js'

interface Resource {
  readonly owner: string
  readonly content: object
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
  readonly #uploads = new Map<string, Resource>()

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

  /** The two requests of a resumable upload: the first is answered with the address of the second. */
  #upload(request: SimRequest, owner: string): Answer {
    const { headers, query, raw } = request
    const id = query.get('upload_id')
    if (id === null) {
      const upload_id = randomBytes(12).toString('base64url')
      this.#uploads.set(upload_id, { owner, content: { ...(field(request.json, 'file') as object) } })
      const url = `http://${headers.host}/upload/v1beta/files?upload_id=${upload_id}&upload_protocol=resumable`
      return {
        status: 200,
        headers: { 'x-goog-upload-status': 'active', 'x-goog-upload-url': url },
        body: '',
      }
    }
    const upload = this.#uploads.get(id)
    if (!upload || upload.owner !== owner) return foreignResource('Upload is not valid for this key.')
    this.#uploads.delete(id)
    const name = `files/${randomBytes(6).toString('hex')}`
    const uri = `http://${headers.host}/v1beta/${name}`
    const file = { ...upload.content, name, uri, sizeBytes: String(raw.length), state: 'ACTIVE' }
    this.#resources.set(name, { owner, content: file })
    return json(200, { file }, { 'x-goog-upload-status': 'final' })
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

/** The names of the files in a prompt: `files/ID` of each `fileUri`. */
function filesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    /^file_?uri$/i.test(name) ? (/\bfiles\/[\w-]+/.exec(String(inner))?.[0] ?? []) : filesIn(inner),
  )
}
