import type { IncomingHttpHeaders } from 'node:http'
import type { ClientRequest } from '../../config/provider.js'
import { header, queryOf } from '../http.js'
import { type Fields, fields, text } from '../json.js'
import { namesIn } from '../resources.js'
import { placeOf } from './requests.js'

/** What OpenAI keeps for the project of one key, and no other can use: stored responses, files, tuned models and the like. */
const ID =
  /^(?!file_batches$)(?:(?:resp|conv|file|cfile|upload|batch|vs|vsfb|cntr|asst|thread|run|step|ftjob|ftckpt|eval|evalrun|video|pmpt|skill|rtc)[_-][\w-]{1,128}|ft:[\w.:-]{1,200})$/

/** Fields whose value may be an id. Elsewhere a text that looks like one is the user's. */
const FIELD =
  /(?:^|_)ids?$|^(?:container|conversation|files?|training_file|validation_file|result_files|model|fine_tuned_model)$/
/** Fields with the user's own words and values. */
const WORDS = new Set(['metadata', 'arguments', 'schema', 'parameters', 'logprobs'])

/** More ids than any request has; each costs a look-up. */
const MOST_IDS = 64
/** A list of files may have ten thousand; its first page has a hundred. */
const MOST_MADE = 1_000
/** Ids of the parts of a response: a later request may name one in place of its content. */
const ITEM = /^[a-z]{1,12}_[\w-]{1,128}$/

const isId = (value: string): boolean => ID.test(value)

/** Ids of the resources that a request uses, in its path, its query and its body. */
export function resourcesIn(request: ClientRequest): readonly string[] {
  const { area, rest } = placeOf(request.path)
  if (area !== 'responses') return []
  // Codex names its session in a header and has nothing stored, so its bodies need not be read.
  const reads = request.method === 'POST' && header(request.headers, 'session-id') === undefined
  const body = reads ? fields(request.json()) : undefined
  const query = queryOf(request.url)
    .split(/[?&]/)
    .flatMap((part) => part.split('=')[1] ?? [])
  const named = [...rest.split('/'), ...query].filter(isId)
  return [...new Set([...named, ...(body ? idsInBody(body) : [])])].slice(0, MOST_IDS)
}

function idsInBody(body: Fields): string[] {
  return namesIn(body, {
    most: MOST_IDS,
    nameIn: (id, field, parent) => {
      if (field === 'id' && parent.type === 'item_reference') return ITEM.test(id) ? id : undefined
      return isId(id) && FIELD.test(field) ? id : undefined
    },
    // Tool calls and citations only repeat ids of earlier turns: the upstream reads no resource for them.
    skips: (field, { type }) => WORDS.has(field) || field === 'annotations' || isCall(type),
  })
}

const isCall = (type: unknown): boolean => typeof type === 'string' && type.endsWith('_call')

/** Ids of the resources that an answer, or an event of one, shows its account to have. */
export function resourcesMade(payload: unknown, headers: IncomingHttpHeaders = {}): readonly string[] {
  const location = header(headers, 'location') ?? ''
  return [
    ...location.split(/[/?#]/).filter(isId),
    ...namesIn(payload, {
      most: MOST_MADE,
      nameIn: (id, field, parent) => {
        // A response that is not stored exists no longer than its answer.
        if (field === 'id' && parent.store === false) return undefined
        return isId(id) && FIELD.test(field) ? id : undefined
      },
      // A response repeats the tools and instructions of its request.
      skips: (field) => WORDS.has(field) || field === 'instructions' || field === 'tools',
    }),
    ...itemsMade(fields(payload)),
  ]
}

function itemsMade(payload: Fields | undefined): string[] {
  const response = fields(payload?.response) ?? payload
  if (response?.object !== 'response' || response.store === false || !Array.isArray(response.output))
    return []
  const ids = response.output.slice(-MOST_IDS).flatMap((item) => text(fields(item)?.id) ?? [])
  return ids.filter((id) => ITEM.test(id))
}
