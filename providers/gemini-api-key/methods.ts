import type { ClientRequest } from '../../config/provider.js'
import { normalPath } from '../address.js'

const CALL =
  /\/(?:models|tunedModels)\/([^/:]+):(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)$/

/** The generation method of a request, which may be sent twice; `undefined` for all others. */
export function methodOf({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[2]
}

/** This API has the model in the path. */
export function model({ path }: ClientRequest): string | undefined {
  return CALL.exec(normalPath(path))?.[1]
}
