import type { CodexSettings } from '../../config/config.js'

/** Codex settings with every default filled in. */
export type Settings = Required<Omit<CodexSettings, 'type' | 'proxy'>>
