import { generateText, isStepCount, jsonSchema, tool } from 'ai'
import { instructions, look, prompts, seen } from './turns.mjs'

/** The AI SDK with a model of either provider; it runs the tool itself. */
export default async function converse(model) {
  const { description, parameters } = look
  const tools = {
    look: tool({ description, inputSchema: jsonSchema(parameters), execute: () => seen }),
  }
  const messages = []
  for (const content of prompts) {
    messages.push({ role: 'user', content })
    const result = await generateText({
      model,
      instructions,
      tools,
      messages,
      stopWhen: isStepCount(3),
    })
    messages.push(...result.response.messages)
    console.log(result.text)
  }
}
