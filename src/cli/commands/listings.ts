/** `node list` and `service list`. */
import type { Command } from 'commander';
import type { ServiceView } from '../../client/index.js';
import type { NodeView } from '../../contracts/node.js';
import { left, ms, right, table } from '../../main/text/table.js';
import { withCoordinator } from '../connection.js';
import { globalOptions, print } from '../output.js';
import { addNodeDaemon } from './daemons.js';

export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('run a node agent (node CONF), or list the nodes (node list)');
  addNodeDaemon(node);
  node
    .command('list')
    .description('the nodes that the coordinator knows')
    .action(async (_flags: unknown, command: Command) => {
      const nodes = await withCoordinator(command, (client) => client.nodes());
      print(globalOptions(command), nodes, () => nodeTable(nodes));
    });
}

export function nodeTable(nodes: readonly NodeView[]): string {
  return table({
    columns: [
      ...[right('id'), left('name'), left('type'), left('state'), left('address')],
      ...[right('cores'), right('speed'), right('free MiB'), left('gpus'), right('rtt ms'), right('sessions')],
      left('problem'),
    ],
    rows: nodes.map((node) => [
      ...[String(node.node_id), node.node_name, node.node_type, node.state, `${node.node_addr}:${node.node_port}`],
      String(node.facts?.cpu_cores ?? '-'),
      node.facts?.speed.toFixed(2) ?? '-',
      String(node.facts === null ? '-' : Math.round(node.facts.mem_free_mb)),
      node.facts?.gpus.map((gpu) => gpu.name).join(', ') || '-',
      ...[ms(node.rtt_measured_ms), String(node.sessions.length), node.problem ?? ''],
    ]),
  });
}

export function addServiceCommands(program: Command): void {
  program
    .command('service')
    .description('services')
    .command('list')
    .description('the services that sessions can be started of, with their variants')
    .action(async (_flags: unknown, command: Command) => {
      const services = await withCoordinator(command, (client) => client.services());
      print(globalOptions(command), services, () => serviceTable(services));
    });
}

export function serviceTable(services: readonly ServiceView[]): string {
  const rows = services.flatMap((service) =>
    service.variants.map((variant, index) => [
      ...(index === 0 ? [String(service.service_id), service.service_name] : ['', '']),
      variant.variant_name,
      variant.accuracy.toFixed(3),
      variant.handlers
        .map(({ handler_name, alternatives }) => {
          const named = alternatives.filter((name) => name !== 'default');
          return named.length === 0 ? handler_name : `${handler_name} (${named.join(' | ')})`;
        })
        .join(' -> '),
    ]),
  );
  return table({
    columns: [right('id'), left('service'), left('variant'), right('accuracy'), left('handlers')],
    rows,
  });
}
