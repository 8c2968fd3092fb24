import type { IncomingHttpHeaders } from 'node:http'
import type { ClientRequest } from '../../config/provider.js'
import { header, queryOf } from '../http.js'
import { type Fields, fields, list, objects, text } from '../json.js'
import { geminiPath } from './paths.js'

/** Response headers with the address for the next part of a resumable upload. */
export const uploadHeaders = ['x-goog-upload-url', 'x-goog-upload-control-url', 'location'] as const

/** Names of resources that only the project of one key or account can read. Other names under `models/` are public. */
const NAME =
  /(?:^|\/)((?:files|cachedContents|tunedModels|batches|corpora|fileSearchStores|operations|interactions)\/[\w.-]{1,128}|models\/[\w.-]{1,128}\/operations\/[\w.-]{1,128})/

/** Upper bound, since each name costs a look-up; no real request has as many. */
const MOST_NAMES = 64

/** The resource that a name, a path or an address names: `files/abc` of `https://…/v1beta/files/abc:download`. */
function nameIn(value: unknown): readonly string[] {
  const given = text(value)
  if (given === undefined || given.length > 2_048) return []
  const name = NAME.exec(given)?.[1]
  return name === undefined ? [] : [name]
}

/** Names of the resources that a request uses, in its path, its query and its body. */
export function resourcesIn(request: ClientRequest): readonly string[] {
  const path = geminiPath(request.path)
  const upload = path.startsWith('/upload/')
  // The body of an upload is the file.
  const body = upload || request.method === 'GET' ? undefined : fields(request.json())
  return [
    ...(upload ? uploadIn(queryOf(request.url)) : []),
    ...nameIn(path),
    ...(body ? namesInBody(body) : []),
  ].slice(0, MOST_NAMES)
}

function namesInBody(body: Fields): string[] {
  return objects([body, body.request, body.generateContentRequest]).flatMap((it) => [
    ...nameIn(it.cachedContent ?? it.cached_content),
    ...[
      ...objects(it.contents),
      ...objects([it.content, it.systemInstruction, it.system_instruction]),
    ].flatMap(namesInContent),
    ...objects(it.tools).flatMap(namesInTool),
    ...nameIn(fields(fields(it.batch)?.inputConfig)?.fileName),
    ...interaction(it.previousInteractionId ?? it.previous_interaction_id),
  ])
}

function namesInContent({ parts }: Fields): string[] {
  return objects(parts).flatMap((part) => {
    const file = fields(part.fileData) ?? fields(part.file_data)
    return nameIn(file?.fileUri ?? file?.file_uri)
  })
}

function namesInTool(tool: Fields): string[] {
  const search = fields(tool.fileSearch) ?? fields(tool.file_search)
  return list(search?.fileSearchStoreNames ?? search?.file_search_store_names).flatMap(nameIn)
}

function interaction(id: unknown): readonly string[] {
  return nameIn(text(id) && `interactions/${text(id)}`)
}

function uploadIn(query: string): string[] {
  const id = /[?&]upload_id=([\w.~%-]{1,1024})/.exec(query)?.[1]
  return id === undefined ? [] : [`uploads/${id}`]
}

/** Names of the resources in an answer, which its account therefore has: the one just made, or all of a list. */
export function resourcesMade(payload: unknown, headers: IncomingHttpHeaders = {}): readonly string[] {
  const body = fields(payload) ?? {}
  const lists = [body.files, body.cachedContents, body.tunedModels, body.batches, body.operations]
  const made = [body, body.file, body.response, ...lists.flatMap(list), ...list(body.fileSearchStores)]
  const names = objects(made).flatMap(({ name }) => nameIn(name))
  const uploads = uploadHeaders.flatMap((name) => uploadIn(queryOf(header(headers, name) ?? '')))
  return [...uploads, ...names].slice(0, 4 * MOST_NAMES)
}
