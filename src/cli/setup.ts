import { Command, Option } from 'commander'
import { exitWith } from './exit.js'
import { setupCodex } from './setup-codex.js'
import { setupGemini } from './setup-gemini.js'

/** `codex-pool setup codex` and `codex-pool setup gemini`: write what `codex-pool clients` prints. */
export function setupCommand(): Command {
  const command = new Command('setup').description(
    'point Codex CLI or Gemini CLI here, in its own configuration',
  )
  command.addCommand(
    client('codex', 'write $CODEX_HOME/config.toml (default: ~/.codex/config.toml)', setupCodex)
      .addOption(
        new Option('--seed, --provider', 'as a provider of its own; Codex then goes without WebSockets'),
      )
      .option('--no-login', 'for who has never signed in to Codex; implies --provider'),
  )
  command.addCommand(
    client('gemini', 'write ~/.gemini/.env and ~/.gemini/settings.json', setupGemini).option(
      '--api-key',
      "use the Gemini API, over the pool's API keys",
    ),
  )
  return command
}

function client<O>(name: string, description: string, run: (options: O) => Promise<void>): Command {
  return new Command(name)
    .description(description)
    .option('--key <name>', 'access key to use, by its name in access.keys')
    .option('--url <address>', 'where the pool is (default: where this configuration listens)')
    .option('--print', 'show what would change, and change nothing')
    .option('--undo', 'take the lines out again, and bring back what they replaced')
    .action((_, command: Command) => run(command.optsWithGlobals<O & object>()).catch(exitWith))
}
