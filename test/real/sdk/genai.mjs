import { instructions, look, prompts, seen } from './turns.mjs'

/** `@google/genai` with a chat: the SDK keeps the history. */
export default async function converse(client) {
  const { parameters, ...named } = look
  const functionDeclarations = [{ ...named, parametersJsonSchema: parameters }]
  const config = { systemInstruction: instructions, tools: [{ functionDeclarations }] }
  const chat = client.chats.create({ model: 'gemini-2.5-flash', config })
  for (const message of prompts) {
    let response = await chat.sendMessage({ message })
    while (response.functionCalls) {
      const outputs = response.functionCalls.map(({ id, name }) => ({
        functionResponse: { id, name, response: { output: seen } },
      }))
      response = await chat.sendMessage({ message: outputs })
    }
    console.log(response.text)
  }
}
