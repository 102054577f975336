/** `node list`, `node links`, `node probe` and `service list`. */
import type { Command } from 'commander';
import type { NodeLink, ServiceView } from '../../client/index.js';
import type { NodeView } from '../../contracts/node.js';
import type { LinkFigure } from '../../contracts/plan.js';
import { left, ms, right, seconds, table } from '../../main/text/table.js';
import { idOrName } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { globalOptions, print } from '../output.js';
import { addNodeDaemon } from './daemons.js';

export function addNodeCommands(program: Command): void {
  const node = program
    .command('node')
    .description(
      'run a node agent (node CONF), or see the nodes (node list) and the network between them (node links)',
    );
  addNodeDaemon(node);
  node
    .command('list')
    .description('the nodes that the coordinator knows')
    .action(async (_flags: unknown, command: Command) => {
      const nodes = await withCoordinator(command, (client) => client.nodes());
      print(globalOptions(command), nodes, () => nodeTable(nodes));
    });
  addNodeLinks(node);
}

function addNodeLinks(node: Command): void {
  node
    .command('links')
    .description('the network between the nodes: round trip and rate, measured by what and how long ago')
    .argument('[node]', 'only links from and to this node (id or name)')
    .action(async (name: string | undefined, _flags: unknown, command: Command) => {
      const links = await withCoordinator(command, (client) => client.links(name));
      print(globalOptions(command), links, () => nodeLinkTable(links));
    });
  node
    .command('probe')
    .description('measure the path from one node to another now')
    .argument('<source>', 'node that sends (id or name)')
    .argument('<target>', 'node that takes (id or name)')
    .action(async (source: string, target: string, _flags: unknown, command: Command) => {
      const link = await withCoordinator(command, (client) => client.probeLink(idOrName(source), idOrName(target)));
      print(globalOptions(command), link, () => nodeLinkTable([link]));
    });
}

export function nodeLinkTable(links: readonly NodeLink[]): string {
  const source = ({ from, age_s }: LinkFigure) => (age_s === null ? from : `${from} ${seconds(age_s * 1000)} ago`);
  return table({
    columns: [left('from'), left('to'), right('rtt ms'), left('known by'), right('Mbit/s'), left('known by')],
    rows: links.map(({ source_name, target_name, rtt, mbit }) => [
      ...[source_name, target_name, ms(rtt.value), source(rtt), mbit.value.toFixed(0), source(mbit)],
    ]),
  });
}

export function nodeTable(nodes: readonly NodeView[]): string {
  return table({
    columns: [
      ...[right('id'), left('name'), left('type'), left('state'), left('address')],
      ...[
        right('cores'),
        right('cpu %'),
        right('speed'),
        right('free MiB'),
        left('gpus'),
        right('rtt ms'),
        left('clock ms'),
        right('sessions'),
      ],
      left('problem'),
    ],
    rows: nodes.map((node) => [
      ...[String(node.node_id), node.node_name, node.node_type, stateText(node), `${node.node_addr}:${node.node_port}`],
      String(node.facts?.cpu_cores ?? '-'),
      `${node.cpu_util?.toFixed(0) ?? '-'}${node.slowness > 1 ? ` (${node.slowness.toFixed(1)}x slower)` : ''}`,
      node.facts?.speed.toFixed(2) ?? '-',
      String(node.facts === null ? '-' : Math.round(node.facts.mem_free_mb)),
      node.facts?.gpus.map((gpu) => gpu.name).join(', ') || '-',
      ...[ms(node.rtt_measured_ms), clockText(node), String(node.sessions.length), node.problem ?? ''],
    ]),
  });
}

/** `up`, or `up, draining` */
function stateText({ state, drain }: NodeView): string {
  return drain === null ? state : `${state}, ${drain.state}`;
}

/** `180000 ± 2.4`: how far the machine's clock is ahead of the coordinator's, and how wrong that may be. */
function clockText({ clock_offset_ms, clock_error_ms }: NodeView): string {
  return clock_offset_ms === null ? '-' : `${ms(clock_offset_ms)} ± ${ms(clock_error_ms)}`;
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
