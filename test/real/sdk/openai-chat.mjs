import { instructions, look, prompts, seen } from './turns.mjs'

/** The openai SDK with chat completions, as a stream. */
export default async function converse(client) {
  const messages = [{ role: 'system', content: instructions }]
  const tools = [{ type: 'function', function: look }]
  const ask = () =>
    client.chat.completions.stream({ model: 'gpt-5.5', tools, messages }).finalChatCompletion()
  for (const content of prompts) {
    messages.push({ role: 'user', content })
    for (;;) {
      const { message } = (await ask()).choices[0]
      messages.push(message)
      const calls = message.tool_calls ?? []
      if (calls.length === 0) break
      messages.push(...calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: seen })))
    }
    console.log(messages.at(-1).content)
  }
}
