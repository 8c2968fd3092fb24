/** What a person does on a login page, as one of the simulator's accounts. */
export interface Decision {
  readonly account: string
  /** @default 'agree' */
  readonly decision?: 'agree' | 'refuse'
}

/**
 * Opens an authorization page and decides. Returns the address that the browser is sent to.
 * @throws if the page refuses the client's request
 */
export async function visit(url: string, decision: Decision): Promise<string> {
  const response = await decide(url, { ...decision })
  const location = response.headers.get('location')
  if (location === null)
    throw new Error(`the login page answered ${response.status}: ${await response.text()}`)
  return location
}

/** Enters a device code on its page. @throws if nobody has been given that code */
export async function enterCode(page: string, code: string, decision: Decision): Promise<void> {
  const response = await decide(page, { ...decision, code })
  if (!response.ok) throw new Error(`the device page answered ${response.status}: ${await response.text()}`)
}

function decide(url: string, form: Record<string, string>): Promise<Response> {
  const body = new URLSearchParams({ decision: 'agree', ...form })
  return fetch(url, { method: 'POST', body, redirect: 'manual' })
}
