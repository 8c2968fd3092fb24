import { instructions, look, prompts, seen } from './turns.mjs'

/** The openai SDK with the Responses API. The client keeps the history. */
export default async function converse(client) {
  const input = []
  const tools = [{ type: 'function', strict: true, ...look }]
  const ask = () => client.responses.create({ model: 'gpt-5.5', instructions, tools, input })
  for (const content of prompts) {
    input.push({ role: 'user', content })
    let response = await ask()
    for (;;) {
      input.push(...response.output)
      const calls = response.output.filter(({ type }) => type === 'function_call')
      if (calls.length === 0) break
      input.push(...calls.map(({ call_id }) => ({ type: 'function_call_output', call_id, output: seen })))
      response = await ask()
    }
    console.log(response.output_text)
  }
}
