import type { Credential } from '../../config/provider.js'
import { fields, text } from '../json.js'

type Form = readonly [recognise: (credential: Credential) => unknown, reason: string]

const AGAIN = 'Run `codex-pool login codex`, or `codex login` and copy the new auth.json here'

/** Files that are met in pool folders, and what to do with them. */
const FORMS: readonly Form[] = [
  [Array.isArray, `is a list, not a login. ${AGAIN}`],
  [(it) => it.agent_identity, `holds an agent identity, which works for one machine only. ${AGAIN}`],
  [
    (it) => it.bedrock_api_key ?? it.bedrock_access_keys,
    'holds Amazon Bedrock keys, which neither upstream accepts',
  ],
  [(it) => it.access_token ?? it.expiry_date, 'looks like a Gemini CLI login: name it gemini_NAME.json'],
  [(it) => it.api_key, 'looks like a Gemini API key: name it gemini_NAME.json'],
  [
    (it) => it.token,
    'has a "token": such a file belongs to a bearer provider and is named PROVIDER_NAME.json',
  ],
  [(it) => it.type === 'service_account', 'is a Google service account, which Codex does not know'],
  [(it) => it.poolDir ?? it.routes ?? it.providers ?? it.listen, 'is a configuration, not a login'],
  [(it) => it.dependencies ?? it.compilerOptions, 'is a file of a program, not a login'],
  [(it) => fields(it.tokens), `has "tokens" without an access_token: the login did not finish. ${AGAIN}`],
  [(it) => 'OPENAI_API_KEY' in it, `is signed out: it holds neither tokens nor a key. ${AGAIN}`],
  [(it) => Object.keys(it).length === 0, `is empty. ${AGAIN}`],
]

/** Why a file holds no account for Codex, in words that never repeat what is in it. */
export function whyUnusable(credential: Credential): string {
  if (typeof credential !== 'object' || credential === null) return `is not a JSON object. ${AGAIN}`
  const form = FORMS.find(([recognise]) => Boolean(recognise(credential)))
  const mode = text(credential.auth_mode) === undefined ? '' : ' of a kind that a pool cannot use'
  return form?.[1] ?? `is not an auth.json${mode}: it has neither "tokens" nor "OPENAI_API_KEY"`
}
