import { pieces, type Reply, type ReplyItem } from '../reply.js'

let ids = 0

/** What a reply is in parts of a candidate's content, one for each event. */
export function partsOf({ items }: Reply, owner: string): object[] {
  return items.flatMap((item) => itemParts(item, owner))
}

function itemParts(item: ReplyItem, owner: string): object[] {
  if ('text' in item) return pieces(item.text).map((text) => ({ text }))
  if ('reasoning' in item) return [{ text: item.reasoning, thought: true }]
  if ('custom' in item) throw new Error('Gemini has no free-form tools: reply with { call, arguments }')
  ids += 1
  const functionCall = { id: `call-sim-${ids}`, name: item.call, args: item.arguments }
  return [{ functionCall, thoughtSignature: signature(owner, ids) }]
}

/** Only the account that it was made for can read it. */
const signature = (owner: string, id: number): string => Buffer.from(`sig ${owner} ${id}`).toString('base64')

/** What gateways put in place of a signature that another account cannot read; Google takes it from anybody. */
const ANYBODYS = 'skip_thought_signature_validator'

export function isForeignSignature(value: string, owner: string): boolean {
  if (value === ANYBODYS) return false
  return !Buffer.from(value, 'base64').toString('utf8').startsWith(`sig ${owner} `)
}
