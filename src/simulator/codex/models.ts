import { type Answer, json } from '../answer.js'

/** Also sent as `x-models-etag`: a different value would make the client ask again after every response. */
export const MODELS_ETAG = '"simulator-1"'

/**
 * The models of an account. For one that may use all, the list is empty: then the Codex CLI takes the catalogue that
 * it brings along.
 */
export function models(slugs: readonly string[] = []): Answer {
  return json(200, { models: slugs.map(model) }, { etag: MODELS_ETAG })
}

/** The fields without which the Codex CLI throws the whole list away. */
function model(slug: string, index: number) {
  return {
    slug,
    display_name: slug,
    description: 'A simulated model.',
    default_reasoning_level: 'medium',
    supported_reasoning_levels: [{ effort: 'medium', description: 'Balanced' }],
    shell_type: 'unified_exec',
    visibility: 'list',
    supported_in_api: true,
    priority: index + 1,
    support_verbosity: true,
    default_verbosity: 'low',
    apply_patch_tool_type: 'freeform',
    truncation_policy: { mode: 'tokens', limit: 10_000 },
    context_window: 272_000,
    experimental_supported_tools: [],
    base_instructions: 'You are a simulated coding agent.',
  }
}
