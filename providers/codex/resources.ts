import type { ClientRequest } from '../../config/provider.js'
import { header } from '../http.js'
import { type Fields, fields, list, objects, text } from '../json.js'
import { placeOf } from './requests.js'

/** What OpenAI keeps for the project of one key, and no other can read: stored responses, files and the like. */
const ID = /^(?:resp|file|conv|vs|batch|cntr|upload)[_-][\w-]{1,128}$/

const idIn = (value: unknown): readonly string[] => {
  const id = text(value)
  return id !== undefined && ID.test(id) ? [id] : []
}

/** More ids than any request has; each costs a look-up. */
const MOST_IDS = 64

/** Ids of the things that a request uses, in its path and its body. */
export function resourcesIn(request: ClientRequest): readonly string[] {
  const { area, rest } = placeOf(request.path)
  if (area !== 'responses') return []
  const named = rest.split('/').flatMap(idIn)
  // Codex names its session in a header and has nothing stored, so its bodies need not be read.
  const reads = request.method === 'POST' && header(request.headers, 'session-id') === undefined
  const body = reads ? fields(request.json()) : undefined
  return [...named, ...(body ? idsInBody(body) : [])].slice(0, MOST_IDS)
}

function idsInBody(body: Fields): string[] {
  const { previous_response_id, conversation, input_file_id, file_id, file_ids } = body
  const single = [previous_response_id, conversation, fields(conversation)?.id, input_file_id, file_id]
  const parts = objects(body.input).flatMap((item) => objects([item, ...list(item.content)]))
  const tools = objects(body.tools)
  return [
    ...single,
    ...list(file_ids),
    ...parts.map((part) => part.file_id),
    ...tools.flatMap(({ container, vector_store_ids }) => [container, ...list(vector_store_ids)]),
  ].flatMap(idIn)
}

/** Ids of the things that an answer says its account has. A response that is not stored is over with its answer. */
export function resourcesMade(payload: unknown): readonly string[] {
  const body = fields(payload) ?? {}
  return objects([body.response, body, ...list(body.data)])
    .filter(({ store }) => store !== false)
    .flatMap(({ id }) => idIn(id))
    .slice(0, MOST_IDS)
}
