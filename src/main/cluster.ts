/**
 * A whole system on this computer: collector, coordinator and node agents as subprocesses of the built command line,
 * with their configuration, logs and database in one data directory. Invariant: whatever way the parent ends, no
 * subprocess outlives it (graceful stop, else the process group is killed, else their stdin ends).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CollectorClient,
  type CoordinatorClient,
  createCollectorClient,
  createCoordinatorClient,
  createNodeClient,
  httpUrl,
} from '../client/index.js';
import { writeClusterFile } from '../config/cluster-file.js';
import { iniText, listText } from '../config/ini.js';
import type { NodeFile } from '../contracts/node.js';
import { ChildDaemon, freePorts } from './child-daemon.js';
import { type NodeShape, ShapedNetwork } from './shaped-network.js';

const LOOPBACK = '127.0.0.1';

/** How long a start waits for the coordinator to hear from every node, ms: a node that is slower is shown as it is. */
const HEARD_MS_MAX = 10_000;
const HEARD_POLL_MS = 50;

export interface ClusterNode {
  readonly node_id: number;
  readonly node_name: string;
  readonly node_type: NodeFile['node_type'];
  readonly labels?: readonly string[];
  /** Emulated, (0, 1]; 1 when absent. */
  readonly speed?: number;
  /** Emulated error of its clock, ms; 0 when absent. */
  readonly clockSkewMs?: number;
  readonly cpuCores?: number;
  readonly memMb?: number;
  readonly threads?: number;
  /** Link of this node until it is measured. */
  readonly rttMs?: number;
  readonly bandwidthMbit?: number;
  /** Emulated access link; its figures are then those of the link until it is measured. */
  readonly shape?: NodeShape | undefined;
  /** A network of its own: where it listens, and the words that start a program there (`ip netns exec NAME`). */
  readonly network?: { readonly address: string; readonly launcher: readonly string[] };
}

export interface ClusterOptions {
  /** Absolute, made when missing. */
  readonly dataDir: string;
  readonly nodes: readonly ClusterNode[];
  readonly servicesDir: string;
  readonly handlerTypesDir?: string;
  /** Directories in which sessions may name files, absolute. */
  readonly allow: readonly string[];
  /** Command lines that external handlers may start; none when absent. */
  readonly commands?: readonly string[];
  /** False: no collector, nothing is reported. */
  readonly collector: boolean;
  /**
   * Where the controllers and all nodes without a network of their own listen; loopback when absent. Elsewhere they
   * listen without a token when there is none: for networks that the caller has made for itself.
   */
  readonly address?: string;
  /** Port of the first coordinator; any free one when absent or 0. */
  readonly port?: number;
  /** Coordinators that share the database, which must be a server then; 1 when absent. */
  readonly coordinators?: number;
  readonly token: string | null;
  readonly reportPeriodS?: number;
  /** Handler hosts that each node keeps started without a session; as configured by default when absent. */
  readonly spareHosts?: number;
  /** Keys of the `[coordinator]` section besides those that follow from here. */
  readonly coordinatorSection?: Readonly<Record<string, string | number>>;
  /** The `[database]` section; one SQLite file in the data directory when absent. */
  readonly databaseSection?: Readonly<Record<string, string | number>>;
}

export interface LocalCluster {
  /** Of several coordinators: all of them, separated by commas. */
  readonly coordinatorUrl: string;
  readonly collectorUrl: string | null;
  readonly database: string;
  readonly coordinator: CoordinatorClient;
  readonly collector: CollectorClient | null;
  /** Their processes, as `nodes` has those of the agents. */
  readonly controllers: {
    readonly coordinators: readonly { readonly url: string; readonly daemon: ChildDaemon }[];
    readonly collector: ChildDaemon | null;
  };
  readonly nodes: readonly {
    readonly node: ClusterNode;
    readonly url: string;
    readonly daemon: ChildDaemon;
    readonly dataDir: string;
  }[];
  close(): Promise<void>;
}

export async function startCluster(options: ClusterOptions): Promise<LocalCluster> {
  const { dataDir, nodes, token, address = LOOPBACK, coordinators: count = 1 } = options;
  for (const part of ['config', 'nodes', 'logs']) mkdirSync(join(dataDir, part), { recursive: true });
  const [collectorPort, ...freed] = await freePorts(1 + count + nodes.length, address);
  const nodePorts = freed.slice(count);
  const [firstPort, ...otherPorts] = freed.slice(0, count);
  const ports = {
    coordinators: [options.port || firstPort!, ...otherPorts],
    collector: collectorPort!,
    nodes: nodePorts,
  };
  const agentUrls = nodes.map((node, index) => httpUrl(addressOf(options, node), nodePorts[index]!));
  const network = await ShapedNetwork.open(nodes.map((node, index) => ({ ...node, url: agentUrls[index]! })));
  writeConfiguration(options, ports, network);

  const coordinatorUrls = ports.coordinators.map((port) => httpUrl(address, port));
  const coordinatorUrl = coordinatorUrls.join(',');
  const collectorUrl = options.collector ? httpUrl(address, ports.collector) : null;
  const coordinator = createCoordinatorClient({ url: coordinatorUrl, token });
  const collector = collectorUrl === null ? null : createCollectorClient({ url: collectorUrl, token });
  // Short, as the address of a socket may have about 100 characters.
  const tmpDir = mkdtempSync(join(tmpdir(), 'voc-'));
  const daemon = (name: string, command: string, probe: () => Promise<unknown>, launcher?: readonly string[]) =>
    new ChildDaemon({
      name,
      args: [command, join(dataDir, 'config', `${name}.conf`), ...(address === LOOPBACK ? [] : ['--insecure'])],
      launcher,
      logFile: join(dataDir, 'logs', `${name}.log`),
      tmpDir,
      probe,
    });

  const ingest = collector === null ? null : daemon('collector', 'collector', () => collector.health());
  const agents = nodes.map((node, index) => {
    const client = createNodeClient({ url: agentUrls[index]!, token });
    const url = network.urlOf(node.node_id);
    const agent = daemon(node.node_name, 'node', () => client.health(), node.network?.launcher);
    return { node, url, daemon: agent, client, dataDir: join(dataDir, node.node_name) };
  });
  const coordinators = coordinatorUrls.map((url, index) => {
    const client = createCoordinatorClient({ url, token });
    return { url, client, daemon: daemon(coordinatorName(index), 'coordinator', () => client.health()) };
  });
  const daemons = [...(ingest === null ? [] : [ingest]), ...[...agents, ...coordinators].map((one) => one.daemon)];
  const killAll = () => {
    for (const one of daemons) one.killGroup();
  };
  process.once('exit', killAll);

  const database = databasePath(dataDir);
  const facts = { pid: process.pid, coordinator_url: coordinatorUrl, collector_url: collectorUrl, database };
  let started = false;
  const close = async () => {
    // Agents first: they drain what they run; the coordinator must not call that a loss and re-place it meanwhile.
    await Promise.all([...coordinators, ...agents].map((one) => one.daemon.stop()));
    await ingest?.stop();
    await Promise.all([
      coordinator.close(),
      collector?.close(),
      ...[...agents, ...coordinators].map((one) => one.client.close()),
    ]);
    await network.close();
    process.removeListener('exit', killAll);
    rmSync(tmpDir, { recursive: true, force: true });
    if (started) writeClusterFile(dataDir, { ...facts, pid: 0 });
  };
  try {
    await Promise.all(daemons.map((one) => one.answers()));
    await coordinatorSees(coordinator, nodes.length);
  } catch (error) {
    await close();
    throw error;
  }
  writeClusterFile(dataDir, facts);
  started = true;
  const controllers = { coordinators, collector: ingest };
  return { coordinatorUrl, collectorUrl, database, coordinator, collector, controllers, nodes: agents, close };
}

/** Until the coordinator has heard from every node: a session that starts at once must not find a node missing. */
async function coordinatorSees(coordinator: CoordinatorClient, count: number): Promise<void> {
  const deadlineMs = performance.now() + HEARD_MS_MAX;
  while ((await coordinator.nodes()).filter((node) => node.state === 'up').length < count) {
    if (performance.now() > deadlineMs) return;
    await sleep(HEARD_POLL_MS);
  }
}

/** The one SQLite file of the cluster's coordinator and collector, unless it has a `databaseSection`. */
export const databasePath = (dataDir: string): string => join(dataDir, 'orchestrator.db');

function addressOf({ address = LOOPBACK }: ClusterOptions, { network }: ClusterNode): string {
  return network?.address ?? address;
}

const coordinatorName = (index: number) => (index === 0 ? 'coordinator' : `coordinator-${index + 1}`);

interface Ports {
  readonly coordinators: readonly number[];
  readonly collector: number;
  readonly nodes: readonly number[];
}

type IniSections = Parameters<typeof iniText>[0];

function writeConfiguration(options: ClusterOptions, ports: Ports, network: ShapedNetwork): void {
  const { dataDir, nodes, address = LOOPBACK } = options;
  const write = (name: string, sections: IniSections) =>
    writeFileSync(join(dataDir, 'config', `${name}.conf`), iniText(sections));
  const nodePath = join(dataDir, 'nodes');
  const database = options.databaseSection ?? { db_path: databasePath(dataDir) };
  ports.coordinators.forEach((port, index) => {
    write(coordinatorName(index), {
      coordinator: {
        ...options.coordinatorSection,
        coordinator_addr: address,
        coordinator_port: port,
        node_path: nodePath,
        service_type_path: options.servicesDir,
        ...(options.handlerTypesDir === undefined ? {} : { handler_type_path: options.handlerTypesDir }),
      },
      database,
    });
  });
  write('collector', {
    collector: { collector_addr: address, collector_port: ports.collector, node_path: nodePath },
    database,
  });
  nodes.forEach((node, index) => {
    writeFileSync(
      join(nodePath, `${node.node_name}.json`),
      `${JSON.stringify(nodeFile(node, network, addressOf(options, node)), null, 2)}\n`,
    );
    write(node.node_name, nodeSections(options, node, { listener: ports.nodes[index]!, collector: ports.collector }));
  });
}

function nodeFile(node: ClusterNode, network: ShapedNetwork, address: string): Partial<NodeFile> {
  const { node_id, node_name, node_type, labels = [], shape } = node;
  const { rttMs = shape?.rttMs, bandwidthMbit = shape?.mbit } = node;
  const port = Number(new URL(network.urlOf(node_id)).port);
  const routes = network.routesOf(node_id);
  return {
    ...{
      node_id,
      node_name,
      node_type,
      node_addr: shape === undefined ? address : LOOPBACK,
      node_port: port,
      labels: [...labels],
    },
    ...(rttMs === undefined ? {} : { rtt_ms: rttMs }),
    ...(bandwidthMbit === undefined ? {} : { bandwidth_mbit: bandwidthMbit }),
    ...(routes === undefined ? {} : { routes }),
  };
}

function nodeSections(
  options: ClusterOptions,
  node: ClusterNode,
  ports: { readonly listener: number; readonly collector: number },
): IniSections {
  return {
    node: {
      node_id: node.node_id,
      node_name: node.node_name,
      labels: listText(node.labels ?? []),
      speed: node.speed ?? 1,
      clock_skew_ms: node.clockSkewMs ?? 0,
      ...(node.cpuCores === undefined ? {} : { cpu_cores: node.cpuCores }),
      ...(node.memMb === undefined ? {} : { mem_mb: node.memMb }),
      ...(node.threads === undefined ? {} : { threads: node.threads }),
      ...(options.spareHosts === undefined ? {} : { spare_hosts: options.spareHosts }),
      data_path: join(options.dataDir, node.node_name),
    },
    listener: { listener_addr: addressOf(options, node), listener_port: ports.listener },
    reporter: {
      enabled: options.collector,
      collector_addr: options.address ?? LOOPBACK,
      collector_port: ports.collector,
      collect_info_period: 1,
      send_report_period: options.reportPeriodS ?? 1,
    },
    sources: { allow: listText(options.allow) },
    external: { commands: listText(options.commands ?? []) },
  };
}
