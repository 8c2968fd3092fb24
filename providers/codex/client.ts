/** Public in the source of Codex CLI: the OAuth client that its logins belong to. */
export const CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'
