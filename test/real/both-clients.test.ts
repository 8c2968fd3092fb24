import assert from 'node:assert/strict'
import { codex, conversations, readme, turns } from './codex.js'
import { gemini, generations, tokenMode } from './gemini.js'
import { said } from './run.js'
import { scenario } from './stage.js'

const six = {
  codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }],
  gemini: [{ id: 'dora' }, { id: 'emil' }, { id: 'fred' }],
}

scenario('both clients work at once through one gateway, each on its own accounts', six, async (stage) => {
  stage.sim.reply(({ account, prompt }) => `${account} to ${/\bfrom (\w+)/.exec(prompt)?.[1]}.`)
  const google = await gemini(stage, tokenMode(stage.url))
  const people = await Promise.all(['me', 'you'].map((name) => codex(stage, readme(stage.url), { name })))
  const [hers, ...theirs] = await Promise.all([
    google.run('-p', 'from gemini'),
    ...people.map((person) => person.exec('from codex')),
  ])
  said(hers, `${generations(stage)[0]?.account} to gemini.`)
  for (const ended of theirs) assert.match(ended.stdout, /^(alice|bob|carol) to codex\.\s*$/)
  for (const { account } of generations(stage)) assert.match(account ?? '', /^(dora|emil|fred)$/)
  assert.equal(turns(stage).length, 2)
  assert.equal(conversations(stage).length, 2)
})
