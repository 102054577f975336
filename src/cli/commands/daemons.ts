/** `node CONF`, `coordinator CONF`, `collector CONF`: the three daemons, in the foreground, logs on stderr. */
import { type Command, Option } from 'commander';
import type { DaemonOptions } from '../../main/daemon.js';

interface DaemonFlags {
  readonly insecure?: boolean;
  readonly untilStdinEnds?: boolean;
  readonly logLevel: string;
}

type Run = (conf: string, options: DaemonOptions) => Promise<void>;

function daemonAction(run: Run) {
  return (conf: string, flags: DaemonFlags) =>
    run(conf, {
      insecure: flags.insecure === true,
      untilStdinEnds: flags.untilStdinEnds === true,
      logLevel: flags.logLevel,
    });
}

function withDaemonOptions(command: Command): Command {
  return command
    .option('--insecure', 'listen off loopback without a token')
    .addOption(
      new Option('--log-level <level>', 'least severe line to log')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addOption(new Option('--until-stdin-ends', 'end when stdin ends').hideHelp());
}

export function addDaemonCommands(program: Command): void {
  withDaemonOptions(program.command('coordinator').argument('<conf>').description('run a coordinator')).action(
    daemonAction(async (conf, options) => (await import('../../main/coordinator.js')).runCoordinator(conf, options)),
  );
  withDaemonOptions(program.command('collector').argument('<conf>').description('run a collector')).action(
    daemonAction(async (conf, options) => (await import('../../main/collector.js')).runCollector(conf, options)),
  );
}

/** `node CONF` shares its word with `node list`: a configuration file that is called `list` is written `./list`. */
export function addNodeDaemon(node: Command): void {
  withDaemonOptions(node.argument('[conf]')).action(async (conf: string | undefined, flags: DaemonFlags) => {
    if (conf === undefined) return node.help();
    await daemonAction(async (file, options) => (await import('../../main/node.js')).runNode(file, options))(
      conf,
      flags,
    );
  });
}
