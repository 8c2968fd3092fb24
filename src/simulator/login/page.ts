import type { Answer } from '../answer.js'
import type { SimRequest } from '../request.js'

/** A page on which a person decides, as one of the simulator's accounts. `field` asks for one more thing. */
export function loginPage(accounts: readonly string[], field = ''): Answer {
  const options = accounts.map((id) => `<option>${escaped(id)}</option>`).join('')
  const body =
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated login</title><form method="post">` +
    `${field}<select name="account">${options}</select>` +
    `<button name="decision" value="agree">Agree</button><button name="decision" value="refuse">Refuse</button></form>`
  return { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body }
}

/** What the person decided on it. */
export function decisionOf<Account extends { id: string }>(
  request: SimRequest,
  accounts: readonly Account[],
): { account: Account | undefined; agrees: boolean; form: URLSearchParams } {
  const form = formOf(request)
  const account = accounts.find(({ id }) => id === form.get('account'))
  return { account, agrees: form.get('decision') === 'agree', form }
}

/** A form, if the request says that it is one; else it is empty. */
export function formOf({ headers, body }: SimRequest): URLSearchParams {
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded')
  return new URLSearchParams(isForm ? body.toString('utf8') : '')
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
