/** `up`: a controller and n nodes on this computer, until Ctrl-C. Data stays in var/up until the next start. */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UP_DIR } from '../config/cluster-file.js';
import { OrchestratorError } from '../contracts/errors.js';
import { isAddress } from '../std/address.js';
import { type ClusterNode, startCluster } from './cluster.js';
import { freshDirectory, releaseDirectory } from './fresh-directory.js';
import { SERVICES_DIR } from './package-facts.js';
import { checkShape, type NodeShape } from './shaped-network.js';
import { left, right, table } from './text/table.js';

export interface UpOptions {
  readonly nodes: number;
  readonly port: number;
  /** Emulated access links, by node name. */
  readonly shapes: Readonly<Record<string, NodeShape>>;
  readonly servicesDir?: string;
  readonly allow: readonly string[];
  /** Command lines that external handlers may start. */
  readonly commands: readonly string[];
  readonly token: string | null;
  readonly signal: AbortSignal;
  onProgress(message: string): void;
  onUp(facts: UpFacts, text: string): void;
}

export interface UpFacts {
  readonly coordinator_url: string;
  readonly collector_url: string | null;
  readonly database: string;
  readonly nodes: readonly {
    readonly node_id: number;
    readonly node_name: string;
    readonly url: string;
    readonly pid: number;
    /** Of its emulated access link, when it has one. */
    readonly rtt_ms?: number;
    readonly mbit_per_s?: number;
  }[];
}

/** How often daemons are looked after, ms. */
const WATCH_MS = 500;

export async function runUp(options: UpOptions): Promise<void> {
  const nodes = upNodes(options);
  const dataDir = freshDirectory(UP_DIR, '`up`');
  options.onProgress(`starting a collector, a coordinator and ${options.nodes} node${options.nodes === 1 ? '' : 's'}`);
  const cluster = await startCluster({
    dataDir,
    nodes,
    servicesDir: resolve(options.servicesDir ?? SERVICES_DIR),
    allow: options.allow.map((entry) => (isAddress(entry) ? entry : resolve(entry))),
    commands: options.commands,
    collector: true,
    port: options.port,
    token: options.token,
  });
  try {
    const facts: UpFacts = {
      coordinator_url: cluster.coordinatorUrl,
      collector_url: cluster.collectorUrl,
      database: cluster.database,
      nodes: cluster.nodes.map(({ node, url, daemon }) => ({
        ...{ node_id: node.node_id, node_name: node.node_name, url, pid: daemon.pid },
        ...(node.shape === undefined ? {} : { rtt_ms: node.shape.rttMs, mbit_per_s: node.shape.mbit }),
      })),
    };
    options.onUp(facts, upText(facts, dataDir));
    const told = new Set<string>();
    while (!options.signal.aborted) {
      for (const { node, daemon } of cluster.nodes) {
        if (daemon.running || told.has(node.node_name)) continue;
        told.add(node.node_name);
        options.onProgress(
          `${node.node_name} has ended; what ran there goes on elsewhere where it can: orchestrator events`,
        );
      }
      if (told.size === cluster.nodes.length) {
        throw new OrchestratorError('NODE_UNREACHABLE', `every node has ended; logs in ${dataDir}/logs`);
      }
      await sleep(WATCH_MS, undefined, { signal: options.signal }).catch(() => {});
    }
    options.onProgress('closing');
  } finally {
    await cluster.close();
    releaseDirectory(dataDir);
  }
}

/** Throws USAGE when a shape names a node that will not be there, or is out of bounds. */
function upNodes({ nodes, shapes }: UpOptions): ClusterNode[] {
  const names = Array.from({ length: nodes }, (_, index) => (index === 0 ? 'client' : `node-${index}`));
  for (const [name, shape] of Object.entries(shapes)) {
    if (!names.includes(name))
      throw new OrchestratorError('USAGE', `--shape ${name}: the nodes are ${names.join(', ')}`);
    checkShape(name, shape);
  }
  return names.map((node_name, node_id) => ({
    ...{ node_id, node_name, node_type: node_id === 0 ? 'client' : 'server', shape: shapes[node_name] },
  }));
}

function upText(facts: UpFacts, dataDir: string): string {
  const nodes = table({
    indent: 2,
    columns: [right('id'), left('node'), left('address'), right('pid'), left('emulated link')],
    rows: facts.nodes.map(({ node_id, node_name, url, pid, rtt_ms, mbit_per_s }) => [
      ...[String(node_id), node_name, url, String(pid)],
      rtt_ms === undefined ? '' : `${rtt_ms} ms round trip, ${mbit_per_s} Mbit/s`,
    ]),
  });
  return [
    `coordinator  ${facts.coordinator_url}`,
    `collector    ${facts.collector_url}`,
    `database     ${facts.database}`,
    `logs         ${dataDir}/logs`,
    nodes,
    '',
    'in another terminal, from this directory:',
    "  orchestrator session start face_recognition --source 'pictures/*.jpg' --fps 2",
    '  orchestrator session list',
    'Ctrl-C ends it',
  ].join('\n');
}
