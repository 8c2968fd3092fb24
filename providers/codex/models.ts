import type { Adaptation, ClientRequest, Provider, ProviderAccount } from '../../config/provider.js'
import { fields, objects, text } from '../json.js'
import { openAiFailure } from '../openai.js'
import { isApiKey } from './credentials.js'
import { isCodexs, modelOfPath, namesVersion, placeOf } from './requests.js'

/** Requests for one model that is on no list. */
const missing = new WeakSet<ClientRequest>()

/** `GET /models`: the pool may use each model that one of its accounts may use. `GET /models/NAME` is made of the same lists. */
export const mergeModels: NonNullable<Provider['merge']> = (request, accounts = 2) => {
  const { area, rest, open } = placeOf(request.path)
  if (request.method !== 'GET' || area !== 'responses') return undefined
  const name = modelOfPath(request)
  if (name !== undefined) return (answers) => oneModel(answers, name) ?? void missing.add(request)
  if (rest !== '/models') return undefined
  if (open && !namesVersion(request.url) && !isCodexs(request)) return openAiList
  return accounts > 1 ? union : undefined
}

/** The same models in the form of OpenAI's API: only Codex names its version, and reads its own form. */
function openAiList(answers: readonly unknown[]): { object: 'list'; data: object[] } {
  const models = new Map<string, object>()
  for (const model of answers.flatMap((answer) => objects(fields(answer)?.models ?? fields(answer)?.data))) {
    const id = text(model.slug) ?? text(model.id)
    if (id === undefined || models.has(id)) continue
    const listed = model.object === 'model' ? model : { id, object: 'model', created: 0, owned_by: 'openai' }
    models.set(id, listed)
  }
  return { object: 'list', data: [...models.values()] }
}

/** API keys answer with the model itself. */
function oneModel(answers: readonly unknown[], name: string): object | undefined {
  const itself = objects(answers).find(({ id, object }) => id === name && object === 'model')
  return itself ?? openAiList(answers).data.find((model) => fields(model)?.id === name)
}

/** ChatGPT accounts have lists of models alone, so a model that is on none is looked for among the API keys. */
export function withoutModel(
  request: ClientRequest,
  { credential }: ProviderAccount,
): Adaptation | undefined {
  if (!missing.has(request) || isApiKey(credential)) return undefined
  const message = `The model "${modelOfPath(request)}" is not on the list of any ChatGPT account of the pool.`
  return { refusal: openAiFailure({ status: 404, code: 'model_not_found', message }) }
}

/**
 * The longest list in its order, and behind it the models that only other lists have. API keys list models in another
 * form, which Codex cannot read. An empty list makes Codex use the list that it came with, so it stands for every model.
 */
function union(answers: readonly unknown[]): unknown {
  const lists = answers.flatMap((answer) => {
    const catalogue = fields(answer)
    return Array.isArray(catalogue?.models) ? [{ ...catalogue, models: objects(catalogue.models) }] : []
  })
  const [longest, ...others] = lists.sort((a, b) => b.models.length - a.models.length)
  if (!longest || others.at(-1)?.models.length === 0) return others.at(-1) ?? longest
  const bySlug = new Map(longest.models.map((model) => [model.slug, model]))
  for (const model of others.flatMap(({ models }) => models))
    if (!bySlug.has(model.slug)) bySlug.set(model.slug, model)
  return { ...longest, models: [...bySlug.values()] }
}
