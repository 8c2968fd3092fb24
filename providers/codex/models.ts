import type { Provider } from '../../config/provider.js'
import { fields, objects } from '../json.js'
import { placeOf } from './paths.js'

/** `GET /models`: what one account of the pool may use, the pool may use. */
export const mergeModels: NonNullable<Provider['merge']> = ({ method, path }) => {
  const { area, rest } = placeOf(path)
  return method === 'GET' && area === 'responses' && rest === '/models' ? union : undefined
}

/**
 * The longest list in its order, and behind it what only others have. API keys list models in another form, which says
 * nothing to Codex. An empty list stands for the one that Codex came with, and so for everything.
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
