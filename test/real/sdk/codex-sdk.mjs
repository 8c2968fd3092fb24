import { prompts } from './turns.mjs'

/** `@openai/codex-sdk`: a thread of the Codex that it brings along. */
export default async function converse(codex) {
  const thread = codex.startThread({ skipGitRepoCheck: true, sandboxMode: 'danger-full-access' })
  for (const prompt of prompts) console.log((await thread.run(prompt)).finalResponse)
}
