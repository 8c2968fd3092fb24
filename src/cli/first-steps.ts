/** What to do when the pool is empty. */
export function firstSteps(poolDir: string): string {
  return `
The pool is empty: there is no account in ${poolDir}

  Codex   copy the auth.json of each login there, under a name of your choice:
            cp ~/.codex/auth.json ${poolDir}/account1.json
  Gemini  the same with oauth_creds.json, with the prefix gemini_:
            cp ~/.gemini/oauth_creds.json ${poolDir}/gemini_account1.json
          or an API key:
            echo '{ "api_key": "…" }' > ${poolDir}/gemini_key1.json

Then restart, or: curl -X POST …/admin/reload
To see it work without any account: codex-pool --demo`
}
