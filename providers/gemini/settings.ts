import type { GeminiSettings } from '../../config/config.js'

/** Gemini settings with every default filled in. */
export type Settings = Required<Omit<GeminiSettings, 'type' | 'proxy'>>
