/** A command's output; what the gateway has to say while it works goes to the log. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
