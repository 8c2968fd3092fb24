import { Agent, Runner, tool, user } from '@openai/agents'
import { instructions, look, prompts, seen } from './turns.mjs'

/** `@openai/agents`: an agent with a tool. */
export default async function converse(runConfig) {
  const tools = [tool({ ...look, strict: true, execute: () => seen })]
  const agent = new Agent({ name: 'Watcher', model: 'gpt-5.5', instructions, tools })
  const runner = new Runner(runConfig)
  let history = []
  for (const prompt of prompts) {
    const result = await runner.run(agent, [...history, user(prompt)])
    history = result.history
    console.log(result.finalOutput)
  }
}
