import type { ServerResponse } from 'node:http'

/** What the browser shows in the end: fixed words, nothing of the request. */
const PAGES = {
  granted: [
    200,
    'Almost done. Go back to the terminal: it says how the login went. You can close this page.',
  ],
  refused: [200, 'The login was refused. Go back to the terminal. You can close this page.'],
  foreign: [
    400,
    'This does not belong to the login that was started. Begin again with the address on the terminal.',
  ],
  unknown: [404, 'There is nothing here.'],
} as const

export function showPage(response: ServerResponse, page: keyof typeof PAGES): void {
  const [status, text] = PAGES[page]
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    // The address of this page holds the code.
    'referrer-policy': 'no-referrer',
    // Or a browser's kept-alive connection would keep the command from ending.
    connection: 'close',
  })
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>codex-pool</title><p>${text}</p></html>\n`,
  )
}
