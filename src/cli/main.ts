#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command, Option } from 'commander'
import { listChoices } from '../../config/index.js'
import type { AddOptions } from './add.js'
import { check } from './check.js'
import { showClients } from './clients.js'
import { exitWith } from './output.js'
import { explain } from './explain.js'
import type { LoginOptions } from './login.js'
import { setups } from './setup.js'
import type { CommonOptions } from './pool-folder.js'

// Commands that need a gateway or the network load them when they run: a third of a second that the others do without.
const { version } = createRequire(import.meta.url)('codex-pool/package.json') as { version: string }

const program = new Command('codex-pool')
  .description(
    'Spreads Codex CLI and Gemini CLI over the accounts in ./pool. Without a command: runs the gateway.',
  )
  .version(version)
  .option(
    '-c, --config <file>',
    'configuration file (default: codex-pool.config.* in this folder, else built-in)',
  )
  .option('-l, --listen <host:port>', 'address to listen on (default: 127.0.0.1:8989)')
  .option('-p, --pool-dir <folder>', 'folder of the credential files (default: ./pool)')
  .addOption(new Option('--demo', 'run on a built-in stand-in for the upstreams, with made-up accounts'))
  .showHelpAfterError('(codex-pool --help shows what there is)')

program.helpCommand(true).action(
  guarded(async (options: CommonOptions & { demo?: boolean }) => {
    const [unknown] = program.args
    if (unknown !== undefined)
      program.error(`error: unknown command "${unknown}". There are: ${commands(unknown)}`)
    if (options.demo) await (await import('./demo.js')).demo(options)
    else await (await import('./serve.js')).serve(options)
  }),
)
program
  .command('check')
  .description('validate the configuration and print it with every default')
  .action(guarded(check))
program
  .command('accounts')
  .description('show the accounts and their state')
  .action(guarded(async (options) => (await import('./accounts.js')).showAccounts(options)))
program
  .command('login <provider>')
  .description('log in and add the account to the pool, or renew its login (codex, gemini)')
  .addOption(
    new Option(
      '--device',
      'with a code, for a browser on any machine (default where there is none here)',
    ).conflicts('browser'),
  )
  .option('--browser', 'with a browser on this machine, or a pasted address')
  .option('--name <name>', "name of the account's file (default: from the e-mail address)")
  .action(async (provider: string, own: LoginOptions) => {
    const { login } = await import('./login.js')
    await login(program.opts(), provider, own).catch(exitWith)
  })
program
  .command('add <file>')
  .description('copy a credential file into the pool (auth.json, oauth_creds.json, an API key)')
  .option('--force <id>', 'replace the login of this account, which is of the same user and workspace')
  .option('--name <name>', "name of the account's file (default: from the e-mail address)")
  .action(async (file: string, own: AddOptions) => {
    const { add } = await import('./add.js')
    await add(program.opts(), file, own).catch(exitWith)
  })
program
  .command('remove <id>')
  .description("delete an account's credential file from the pool")
  .action(async (id: string) => {
    const { remove } = await import('./enable.js')
    await remove(program.opts(), id).catch(exitWith)
  })
program
  .command('disable <id>')
  .description('send no requests to an account until it is enabled; its login is kept fresh')
  .action(async (id: string) => {
    const { setDisabled } = await import('./enable.js')
    await setDisabled(program.opts(), id, true).catch(exitWith)
  })
program
  .command('enable <id>')
  .description('use a disabled account again')
  .action(async (id: string) => {
    const { setDisabled } = await import('./enable.js')
    await setDisabled(program.opts(), id, false).catch(exitWith)
  })
program
  .command('clients')
  .description('print the lines that point Codex CLI and Gemini CLI here')
  .action(guarded(showClients))
const setup = program
  .command('setup')
  .description('point Codex CLI or Gemini CLI here, in its own configuration')
for (const { client, description, options, run } of setups) {
  const command = setup.command(client).description(description)
  for (const [flags, what] of options) command.option(flags, what)
  command.action(() => run(command.optsWithGlobals()).catch(exitWith))
}
program
  .command('explain <request-id>')
  .description('tell why a request went where it went (the id is in its x-codex-pool-request-id)')
  .action((id: string) => explain(program.opts(), id).catch(exitWith))
// Not before: the commands would inherit it.
await program.allowExcessArguments().parseAsync()

function commands(written: string): string {
  return listChoices(
    written,
    program.commands.map((command) => command.name()),
  )
}

/** Runs a command with the common options, wherever they stand on the line; what it throws becomes an exit status. */
function guarded<O extends CommonOptions>(run: (options: O) => Promise<void>): () => Promise<void> {
  return () => run(program.opts<O>()).catch(exitWith)
}
