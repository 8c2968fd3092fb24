import type { IncomingHttpHeaders } from 'node:http'
import type { ClientRequest } from '../../config/provider.js'
import { header, queryOf } from '../http.js'
import { fields, text } from '../json.js'
import { namesIn } from '../resources.js'
import { geminiPath } from './paths.js'

/** Response headers with the address for the next part of a resumable upload. */
export const uploadHeaders = ['x-goog-upload-url', 'x-goog-upload-control-url', 'location'] as const

/** Names of resources that only the project of one key or account can read. Other names under `models/` are public. */
const NAME =
  /(?:^|\/)((?:files|cachedContents|tunedModels|batches|corpora|fileSearchStores|operations|interactions)\/[\w.-]{1,128}|models\/[\w.-]{1,128}\/operations\/[\w.-]{1,128})/

/** Fields whose value may be a name or an address with one. Elsewhere such a text is the user's. */
const FIELD =
  /^(?:name|model|uri|(?:file|video|image)_?uri|cached_?content|file_?name|file_?search_?store_?names?|input_?file(?:_id)?|output_?file(?:_id)?|responses_?file|id|file_id|ids)$/i
/** Fields with the user's own words and values. */
const WORDS =
  /^(?:args|response_?(?:json_?)?schema|parameters(?:_?json_?schema)?|function_?declarations|metadata|custom_?metadata|labels)$/i

/** Upper bound, since each name costs a look-up; no real request has as many. */
const MOST_NAMES = 64
/** A page of a list has a thousand at most. */
const MOST_MADE = 1_000

/** The resource that a name, a path or an address names: `files/abc` of `https://…/v1beta/files/abc:download`. */
function nameIn(value: unknown): string | undefined {
  const given = text(value)
  return given === undefined || given.length > 2_048 ? undefined : NAME.exec(given)?.[1]
}

/** Names of the resources that a request uses, in its path, its query and its body. */
export function resourcesIn(request: ClientRequest): readonly string[] {
  const path = geminiPath(request.path)
  const upload = path.startsWith('/upload/')
  // The body of an upload is the file.
  const body = upload || request.method === 'GET' ? undefined : fields(request.json())
  return [
    ...(upload ? uploadIn(queryOf(request.url)) : []),
    ...[nameIn(path) ?? []].flat(),
    ...(body ? namesInValue(body, MOST_NAMES) : []),
  ].slice(0, MOST_NAMES)
}

function namesInValue(value: unknown, most: number): string[] {
  return namesIn(value, {
    most,
    nameIn: (given, field) => {
      if (/^previous_?interaction_?id$/i.test(field)) return nameIn(`interactions/${given}`)
      return FIELD.test(field) ? nameIn(given) : undefined
    },
    skips: (field, { name, done }) =>
      // What a function of the user's has answered; an operation that is done has a field of the same name.
      WORDS.test(field) || (field === 'response' && name !== undefined && done === undefined),
  })
}

function uploadIn(query: string): string[] {
  const id = /[?&]upload_id=([\w.~%-]{1,1024})/.exec(query)?.[1]
  return id === undefined ? [] : [`uploads/${id}`]
}

/** Names of the resources in an answer, which its account therefore has: the one just made, or all of a list. */
export function resourcesMade(payload: unknown, headers: IncomingHttpHeaders = {}): readonly string[] {
  const uploads = uploadHeaders.flatMap((name) => uploadIn(queryOf(header(headers, name) ?? '')))
  const body = fields(payload)
  const interaction = fields(body?.interaction) ?? (body?.object === 'interaction' ? body : undefined)
  const begun = nameIn(text(interaction?.id) && `interactions/${text(interaction?.id)}`)
  return [...uploads, ...(begun === undefined ? [] : [begun]), ...namesInValue(payload, MOST_MADE)]
}
