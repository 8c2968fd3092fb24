/** The user's words, one for each turn. */
export const prompts = process.argv.slice(2)

/** Upstreams cache prompts from 1,024 tokens on. */
export const instructions = 'Answer in one short sentence. '.repeat(200)

export const look = {
  name: 'look',
  description: 'Tells what is to be seen.',
  parameters: {
    type: 'object',
    properties: { at: { type: 'string' } },
    required: ['at'],
    additionalProperties: false,
  },
}

export const seen = 'a cloud'
