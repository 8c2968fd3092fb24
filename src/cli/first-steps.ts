/** What to do when the pool is empty. */
export function firstSteps(poolDir: string): string {
  return `
The pool is empty: there is no account in ${poolDir}

  Codex   log in once for each account:
            codex-pool login codex
          or copy the auth.json of a login there, under a name of your choice:
            cp ~/.codex/auth.json ${poolDir}/account1.json
  Gemini  the same with
            codex-pool login gemini
          or with oauth_creds.json, with the prefix gemini_:
            cp ~/.gemini/oauth_creds.json ${poolDir}/gemini_account1.json
          or an API key:
            (umask 077; echo '{ "api_key": "…" }' > ${poolDir}/gemini_key1.json)

A gateway that runs notices them by itself.
To see it work without any account: codex-pool --demo`
}
