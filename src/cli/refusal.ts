/** Stops a command with words for the person, and a stable code for programs. */
export function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
