#!/usr/bin/env node
/** The command line: argv to calls, results to text or JSON. What the calls do is elsewhere. */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../main/package-facts.js';
import { addAccountCommands } from './commands/accounts.js';
import { addApplyCommand } from './commands/apply.js';
import { addCheckCommand } from './commands/check.js';
import { addDaemonCommands } from './commands/daemons.js';
import { addDbCommands } from './commands/db.js';
import { addDrainCommands } from './commands/drain.js';
import { addEventsCommand } from './commands/events.js';
import { addExportCommand } from './commands/export.js';
import { addFigureCommands } from './commands/figures.js';
import { addGalleryCommands } from './commands/gallery.js';
import { addNodeCommands, addServiceCommands } from './commands/listings.js';
import { addLocalCommands } from './commands/local.js';
import { addModelCommands } from './commands/models.js';
import { addMoveCommand } from './commands/move.js';
import { addPlanCommand } from './commands/plan.js';
import { addSessionCommands } from './commands/sessions.js';
import { addSimulateCommand } from './commands/simulate.js';
import { addSqlCommand } from './commands/sql.js';
import { addTopCommand } from './commands/top.js';
import { addWhatIfCommands } from './commands/whatif.js';
import { reportError, usage } from './output.js';

function createProgram(): Command {
  const program = new Command('orchestrator')
    .description('Places the handlers of vision services on unequal nodes and re-places them while frames flow.')
    .version(VERSION)
    .option('--json', 'print results (and errors) as JSON')
    .option(
      '--coordinator <url>',
      'address of the coordinator, or of several, by commas (default: ORCHESTRATOR_URL, the running `up`, port 7000 here)',
    )
    .option('--progress', 'show progress also when stderr is no terminal')
    .option('--debug', 'show the stack of an error')
    .configureOutput({ outputError: () => {} })
    .showHelpAfterError(false)
    .exitOverride();
  addLocalCommands(program);
  addSessionCommands(program);
  addMoveCommand(program);
  addApplyCommand(program);
  addDrainCommands(program);
  addAccountCommands(program);
  addServiceCommands(program);
  addNodeCommands(program);
  addGalleryCommands(program);
  addModelCommands(program);
  addFigureCommands(program);
  addPlanCommand(program);
  addWhatIfCommands(program);
  addSimulateCommand(program);
  addEventsCommand(program);
  addTopCommand(program);
  addSqlCommand(program);
  addExportCommand(program);
  addDbCommands(program);
  addCheckCommand(program);
  addDaemonCommands(program);
  return withSharedOptions(program);
}

/** The options of the program are taken by every command, so that `session list --json` works as `--json session list`. */
function withSharedOptions(command: Command): Command {
  for (const child of command.commands) {
    child.exitOverride().configureOutput({ outputError: () => {} });
    for (const option of command.options) {
      const taken = child.options.some((own) => own.long === option.long);
      if (!taken && ['--json', '--coordinator', '--progress', '--debug'].includes(option.long ?? '')) {
        child.addOption(option);
      }
    }
    withSharedOptions(child);
  }
  return command;
}

async function main(argv: readonly string[]): Promise<void> {
  const program = createProgram();
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return;
      if (error.code === 'commander.help' || error.code === 'commander.helpDisplayed') process.exitCode = 2;
      else process.exitCode = reportError(usage(error.message.replace(/^error: /, '')), argv);
      return;
    }
    process.exitCode = reportError(error, argv);
  }
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader (`| head`) has gone: nobody is left to print for.
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

await main(process.argv);
