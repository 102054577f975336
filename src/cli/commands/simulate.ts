/** `simulate SCENARIO`: a fleet in virtual time; nothing is started. */
import type { Command } from 'commander';
import { left, table } from '../../main/text/table.js';
import { integer } from '../arguments.js';
import { globalOptions, print } from '../output.js';

interface SimulateFlags {
  readonly algorithm: string;
  readonly seed: number;
  readonly nodes?: number;
  readonly sessions?: number;
}

export function addSimulateCommand(program: Command): void {
  program
    .command('simulate')
    .argument('[scenario]', 'its name; without one, all are listed')
    .option('--algorithm <name|module>', 'orchestrator, a baseline, or the path of your own module', 'orchestrator')
    .option('--seed <n>', 'of every draw: same seed, same figures', integer, 1)
    .option('--nodes <n>', 'size of the fleet (default: that of the scenario)', integer)
    .option('--sessions <n>', 'sessions that ask for a place (default: that of the scenario)', integer)
    .description('what an algorithm would make of a fleet, in virtual time (docs/simulation.md)')
    .action(async (scenario: string | undefined, flags: SimulateFlags, command: Command) => {
      const { scenarios, simulateScenario } = await import('../../main/simulate.js');
      if (scenario === undefined) {
        const all = scenarios().map(({ name, about, size }) => ({ name, about, ...size }));
        print(globalOptions(command), all, () =>
          table({ columns: [left('scenario'), left('')], rows: all.map(({ name, about }) => [name, about]) }),
        );
        return;
      }
      const { algorithm, seed, nodes, sessions } = flags;
      const report = await simulateScenario({ scenario, algorithm, seed, nodes, sessions });
      const { simulationText } = await import('../../main/text/simulation-text.js');
      print(globalOptions(command), report, () => simulationText(report));
    });
}
