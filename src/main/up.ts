/** `up`: a controller and n nodes on this computer, until Ctrl-C. Data stays in var/up until the next start. */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UP_DIR } from '../config/cluster-file.js';
import { OrchestratorError } from '../contracts/errors.js';
import { startCluster } from './cluster.js';
import { freshDirectory, releaseDirectory } from './fresh-directory.js';
import { SERVICES_DIR } from './package-facts.js';
import { left, right, table } from './text/table.js';

export interface UpOptions {
  readonly nodes: number;
  readonly port: number;
  readonly servicesDir?: string;
  readonly allow: readonly string[];
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
  }[];
}

/** How often daemons are looked after, ms. */
const WATCH_MS = 500;

export async function runUp(options: UpOptions): Promise<void> {
  const dataDir = freshDirectory(UP_DIR, '`up`');
  options.onProgress(`starting a collector, a coordinator and ${options.nodes} node${options.nodes === 1 ? '' : 's'}`);
  const cluster = await startCluster({
    dataDir,
    nodes: Array.from({ length: options.nodes }, (_, index) => ({
      node_id: index,
      node_name: index === 0 ? 'client' : `node-${index}`,
      node_type: index === 0 ? 'client' : 'server',
    })),
    servicesDir: resolve(options.servicesDir ?? SERVICES_DIR),
    allow: options.allow.map((directory) => resolve(directory)),
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
      })),
    };
    options.onUp(facts, upText(facts, dataDir));
    while (!options.signal.aborted) {
      const gone = cluster.nodes.find(({ daemon }) => !daemon.running);
      if (gone !== undefined && cluster.nodes.every(({ daemon }) => !daemon.running)) {
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

function upText(facts: UpFacts, dataDir: string): string {
  const nodes = table({
    indent: 2,
    columns: [right('id'), left('node'), left('address'), right('pid')],
    rows: facts.nodes.map((node) => [String(node.node_id), node.node_name, node.url, String(node.pid)]),
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
