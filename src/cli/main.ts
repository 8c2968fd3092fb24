import { Command, Option } from 'commander'
import type { CommonOptions } from './pool-folder.js'
import { version } from './version.js'

// Node.js would open a debugger, which lets any program of this machine in.
process.on('SIGUSR1', () => {})

const program: Command = new Command('codex-pool')
  .description(
    'Spreads Codex CLI and Gemini CLI over the accounts of a pool. Without a command: runs the gateway.',
  )
  .version(version)
  .option(
    '-c, --config <file>',
    'configuration file (default: codex-pool.config.* in the home, else built-in)',
  )
  .option('-l, --listen <address>', 'host:port or unix:/path to listen on (default: 127.0.0.1:8989)')
  .option('-p, --pool-dir <folder>', 'folder of the credential files (default: pool in the home)')
  .addOption(
    new Option('--demo', 'run on a built-in stand-in for the upstreams, with made-up accounts').conflicts([
      'config',
      'poolDir',
    ]),
  )
  .showHelpAfterError('(codex-pool --help shows what there is)')
  .helpCommand(true)
  .configureHelp({
    showGlobalOptions: true,
    // The others are of the gateway itself.
    visibleGlobalOptions: () =>
      program.options.filter((option) => ['config', 'listen', 'poolDir'].includes(option.attributeName())),
  })
  .addHelpText(
    'after',
    `
The home is the working folder if it holds a configuration or a folder "pool", else $CODEX_POOL_HOME, else the user's
configuration folder.

Examples:
  codex-pool --demo                    see it work, without any account
  codex-pool init                      set up accounts and clients
  codex-pool --listen 127.0.0.1:9000   run on another port

Exit status: 0 done, 1 failed or refused, 2 a configuration that cannot be used, 3 another process has the database open. doctor: 1 something does not work, 4 a warning.`,
  )

// With an action, commander takes a misspelt command for an argument of that action, and suggests nothing.
if (program.parseOptions(process.argv.slice(2)).operands.length === 0)
  program.action(
    command(async () =>
      program.opts().demo ? (await import('./demo.js')).demo : (await import('./serve.js')).serve,
    ),
  )

program
  .command('check')
  .description('validate the configuration and print it with every default')
  .action(command(async () => (await import('./check.js')).check))
program
  .command('status')
  .description('tell whether one can work now, on which accounts, and if not, when; then each account')
  .option('--watch', 'draw it anew every two seconds, until Ctrl-C')
  .option('--line', 'in a few words, for a prompt or tmux')
  .option('--json', 'for a program')
  .action(command(async () => (await import('./status.js')).showStatus))
const accounts = program
  .command('accounts [id]')
  .description('the same as status; with an id, all that is known of one account')
  .option('--json', 'for a program')
  .action(command(async () => (await import('./status.js')).showAccounts))
accounts
  .command('retry [id]')
  .description('look again at an account, or at all of them, whatever its state')
  .action(command(async () => (await import('./accounts.js')).retry))
accounts
  .command('redeem <id>')
  .description('use up the reset credit of an account that expires soonest: its windows are empty again')
  .action(command(async () => (await import('./accounts.js')).redeem))
program
  .command('login <provider>')
  .description('log in and add the account to the pool, or give it a new login (codex, gemini)')
  .addOption(
    new Option(
      '--device',
      'with a code, for a browser on any machine (default where there is none here)',
    ).conflicts('browser'),
  )
  .option('--browser', 'with a browser on this machine, or a pasted address')
  .option('--name <name>', "name of the account's file (default: from the e-mail address)")
  .action(command(async () => (await import('./login.js')).login))
program
  .command('add <file>')
  .description('copy a credential file into the pool (auth.json, oauth_creds.json, an API key)')
  .option('--force <id>', 'replace the login of this account, which is of the same user and workspace')
  .option('--name <name>', "name of the account's file (default: from the e-mail address)")
  .action(command(async () => (await import('./add.js')).add))
program
  .command('remove <id>')
  .description("delete an account's credential file from the pool")
  .option('--yes', 'do not ask')
  .action(command(async () => (await import('./accounts.js')).remove))
program
  .command('disable <id>')
  .description('send no requests to an account until it is enabled; its login is kept fresh')
  .action(command(async () => (await import('./accounts.js')).disable))
program
  .command('enable <id>')
  .description('use a disabled account again')
  .action(command(async () => (await import('./accounts.js')).enable))
program
  .command('clients')
  .description('print the lines that point Codex CLI and Gemini CLI here')
  .action(command(async () => (await import('./clients.js')).showClients))
program
  .command('explain [request-id]')
  .description('tell why a request went where it went; without an id, of the last requests, failures first')
  .option('--last', 'of the last request')
  .option('--account <id>', 'of requests that this account was asked for')
  .option('--conversation <hash>', 'of requests of this conversation, by the beginning of its hash')
  .option('--json', 'for a program')
  .action(command(async () => (await import('./explain.js')).explain))

const choices = ['new', 'copy', 'skip']
program
  .command('init')
  .description('set up accounts, clients and service; each question is a flag')
  .addOption(
    new Option('--codex <how>', 'log in anew, copy the login of Codex CLI, or neither').choices(choices),
  )
  .addOption(new Option('--gemini <how>', 'the same for Gemini CLI').choices(choices))
  .option('--clients', 'point the clients here')
  .option('--no-clients', 'leave the configuration of the clients as it is')
  .option('--service', 'run the gateway as a service')
  .option('--no-service', 'install no service')
  .action(command(async () => (await import('./init.js')).init))
const service = program
  .command('service')
  .description('run the gateway for good: systemd (Linux), launchd (macOS)')
service
  .command('install')
  .description('write the service for this configuration, start it, and start it at each login')
  .option('--print', 'show the file, and write nothing')
  .action(command(async () => (await import('./service.js')).install))
service
  .command('remove')
  .description('stop the service and remove its file')
  .action(command(async () => (await import('./service.js')).uninstall))
service
  .command('status')
  .description('what the service manager tells')
  .action(command(async () => (await import('./service.js')).status))
service
  .command('logs')
  .description('follow the log')
  .action(command(async () => (await import('./service.js')).logs))
program
  .command('doctor')
  .description('tell what is wrong with the set-up, why it matters, and the command that mends it')
  .option('--fix', 'mend what can be mended without a risk')
  .option('--online', 'ask the upstreams too')
  .option('--json', 'for a program')
  .action(command(async () => (await import('./doctor/doctor.js')).doctor))

program
  .command('usage')
  .description('tell the requests and tokens of the last days, as the upstreams counted them')
  .option('--since <time>', 'hours or days, such as 24h or 7d', '7d')
  .option('--by <what>', 'day, hour, account, model or provider', 'day')
  .option('--json', 'for a program')
  .action(command(async () => (await import('./usage.js')).showUsage))
program
  .command('logs')
  .description('show the last requests, one a line')
  .option('-f, --follow', 'and each further one as it ends, and what happens to accounts, until Ctrl-C')
  .option('--json', 'one JSON document a line')
  .action(command(async () => (await import('./logs.js')).showLogs))

const setup = program
  .command('setup')
  .description('point Codex CLI or Gemini CLI here, in its own configuration')
setup
  .command('codex')
  .description('write $CODEX_HOME/config.toml (default: ~/.codex/config.toml)')
  .option('--provider', 'as a provider of its own; Codex then goes without WebSockets')
  .option('--no-login', 'for a Codex that has never signed in; implies --provider')
  .action(command(async () => (await import('./setup.js')).setupCodex))
setup
  .command('gemini')
  .description('write ~/.gemini/.env and ~/.gemini/settings.json')
  .option('--api-key', "use the Gemini API, over the pool's API keys")
  .action(command(async () => (await import('./setup.js')).setupGemini))
for (const client of setup.commands)
  client
    .option('--key <name>', 'access key to use, by its name in access.keys')
    .option('--url <address>', 'where the pool is (default: where this configuration listens)')
    .option('--print', 'show what would change, and change nothing')
    .option('--undo', 'take the lines out again, and bring back what they replaced')

const examples: Readonly<Record<string, readonly string[]>> = {
  check: ['codex-pool check --config ./codex-pool.config.yaml'],
  login: ['codex-pool login codex', 'codex-pool login gemini --name work'],
  add: ['codex-pool add ~/.codex/auth.json', 'codex-pool add key.json --name spare'],
  remove: ['codex-pool remove alice', 'codex-pool remove alice --yes'],
  disable: ['codex-pool disable alice'],
  enable: ['codex-pool enable alice'],
  clients: ['codex-pool clients'],
  init: ['codex-pool init', 'codex-pool init --codex copy --gemini skip --service'],
  service: ['codex-pool service install', 'codex-pool service install --print', 'codex-pool service logs'],
  doctor: ['codex-pool doctor --fix', 'codex-pool doctor --online --json'],
  setup: ['codex-pool setup codex --print', 'codex-pool setup gemini', 'codex-pool setup codex --undo'],
  status: ['codex-pool status --watch', 'codex-pool status --json | jq .providers'],
  accounts: ['codex-pool accounts alice', 'codex-pool accounts retry alice'],
  usage: ['codex-pool usage --since 24h --by model'],
  logs: ['codex-pool logs --follow'],
  explain: ['codex-pool explain --last', 'codex-pool explain --account alice'],
  complete: ['source <(codex-pool complete bash)', 'codex-pool complete zsh > ~/.zsh/_codex-pool'],
}

if (process.argv[2] === 'complete') (await import('@bomb.sh/tab/commander')).default(program)
else
  program
    .command('complete')
    .argument('<shell>', 'bash, zsh, fish or powershell')
    .description('print the completion for a shell')
for (const one of program.commands) {
  const lines = examples[one.name()]?.map((line) => `  ${line}`) ?? []
  if (lines.length > 0) one.addHelpText('after', ['', 'Examples:', ...lines].join('\n'))
}

await program.parseAsync()

/**
 * An action that runs a command with the common options, its arguments and its own options; what it throws becomes an
 * exit status. The command is loaded when it runs: a gateway and the network take a third of a second.
 */
function command<A extends unknown[]>(
  load: () => Promise<(options: CommonOptions, ...args: A) => Promise<void>>,
) {
  return async (...args: A): Promise<void> => {
    // With a command, commander leaves --demo unread.
    if (program.opts().demo && program.args.length > 0)
      program.error("error: option '--demo' runs the gateway, and goes with no command")
    try {
      await (
        await load()
      )(program.opts(), ...args)
    } catch (error) {
      const { exitWith } = await import('./output.js')
      exitWith(error as Error)
    }
  }
}
