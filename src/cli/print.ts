// Who reads only the first lines (`| head`) has seen enough; a gateway goes on without its terminal.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

/** A command's output; what the gateway has to say while it works goes to the log. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
