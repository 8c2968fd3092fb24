/** The `UPSTREAM_*` variables of the gateway. */
export type SimulatorEnvironment = Record<
  | 'UPSTREAM_RESPONSES_BASE'
  | 'UPSTREAM_WHAM_BASE'
  | 'UPSTREAM_REFRESH_BASE'
  | 'UPSTREAM_OPENAI_BASE'
  | 'UPSTREAM_GEMINI_BASE'
  | 'UPSTREAM_GEMINI_REFRESH_BASE'
  | 'UPSTREAM_GEMINI_LOGIN_BASE'
  | 'UPSTREAM_GEMINI_API_BASE',
  string
>

/** Points all of them at one simulator. */
export function environmentFor(url: string): SimulatorEnvironment {
  return {
    UPSTREAM_RESPONSES_BASE: `${url}/backend-api/codex`,
    UPSTREAM_WHAM_BASE: `${url}/backend-api`,
    UPSTREAM_REFRESH_BASE: url,
    UPSTREAM_OPENAI_BASE: `${url}/openai/v1`,
    UPSTREAM_GEMINI_BASE: url,
    UPSTREAM_GEMINI_REFRESH_BASE: url,
    UPSTREAM_GEMINI_LOGIN_BASE: url,
    UPSTREAM_GEMINI_API_BASE: url,
  }
}
