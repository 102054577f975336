/** A real system for tests: the built program's processes on loopback, real pictures, a data directory of its own. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ObservedHandler } from '../../src/contracts/node.js';
import type { SessionView } from '../../src/contracts/session.js';
import { type ClusterNode, type LocalCluster, startCluster } from '../../src/main/cluster.js';

const require = createRequire(import.meta.url);

/** face-api's sample1..6.jpg with 3, 3, 3, 4, 5 and 4 faces. */
export const SAMPLES = [1, 2, 3, 4, 5, 6].map((number) =>
  join(dirname(require.resolve('@vladmandic/face-api/package.json')), 'demo', `sample${number}.jpg`),
);
export const FACES = [3, 3, 3, 4, 5, 4];

export const NODES: readonly ClusterNode[] = [
  { node_id: 0, node_name: 'client', node_type: 'client' },
  { node_id: 1, node_name: 'edge', node_type: 'edge' },
  { node_id: 2, node_name: 'cloud', node_type: 'cloud' },
];

export interface TestSystem extends LocalCluster {
  readonly dir: string;
  /** A directory of `count` pictures, the samples over and over; `replace` puts other bytes in place of some. */
  pictures(name: string, count: number, replace?: ReadonlyMap<number, Buffer>): string;
  /** Lines of the only boxes.jsonl of a session. */
  journal(sessionId: number): JournalLine[];
  /** Path of the only file of that name that a session wrote. */
  output(sessionId: number, name: string): string;
}

export interface JournalLine {
  readonly sequence: number;
  readonly boxes?: readonly { label: string; prob: number }[];
  readonly dropped?: string;
  readonly handler_id?: number;
}

export interface SystemOptions {
  readonly services: readonly object[];
  readonly nodes?: readonly ClusterNode[];
  /** Command lines that external handlers may start. */
  readonly commands?: readonly string[];
  /** The `[database]` section; an SQLite file when absent. */
  readonly databaseSection?: Readonly<Record<string, string | number>>;
  /** Coordinators that share the database; 1 when absent. */
  readonly coordinators?: number;
  /** Handler hosts that each node keeps started without a session; 0 when absent. */
  readonly spareHosts?: number;
  /** Where all but nodes with a network of their own listen; loopback when absent. */
  readonly address?: string;
}

export async function startSystem(options: SystemOptions): Promise<TestSystem> {
  const { services, nodes = NODES, databaseSection, commands = [] } = options;
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-test-'));
  const servicesDir = join(dir, 'services');
  const picturesDir = join(dir, 'pictures');
  mkdirSync(servicesDir);
  mkdirSync(picturesDir);
  services.forEach((service, index) => {
    writeFileSync(join(servicesDir, `${index}.json`), JSON.stringify(service));
  });
  const dataDir = join(dir, 'data');
  const cluster = await startCluster({
    dataDir,
    nodes,
    servicesDir,
    allow: [picturesDir, dirname(SAMPLES[0]!)],
    commands,
    collector: true,
    token: null,
    reportPeriodS: 0.5,
    spareHosts: options.spareHosts ?? 0,
    // Machines that run tests are busy with others: nothing moves on account of that.
    coordinatorSection: { confirm_s: 86_400, improve_period_s: 86_400 },
    ...(databaseSection === undefined ? {} : { databaseSection }),
    ...(options.coordinators === undefined ? {} : { coordinators: options.coordinators }),
    ...(options.address === undefined ? {} : { address: options.address }),
  });
  const outputOf = (sessionId: number, name: string): string => {
    const files = findFiles(dataDir, name).filter((path) => path.split(/[\\/]/).includes(String(sessionId)));
    if (files.length !== 1)
      throw new Error(`${files.length} files ${name} of session ${sessionId}: ${files.join(', ')}`);
    return files[0]!;
  };
  return {
    ...cluster,
    dir,
    pictures(name, count, replace = new Map()) {
      const directory = join(picturesDir, name);
      mkdirSync(directory);
      for (let index = 0; index < count; index++) {
        const path = join(directory, `${String(index).padStart(4, '0')}.jpg`);
        const bytes = replace.get(index);
        if (bytes === undefined) symlinkSync(SAMPLES[index % SAMPLES.length]!, path);
        else writeFileSync(path, bytes);
      }
      return directory;
    },
    output: outputOf,
    journal(sessionId) {
      return readFileSync(outputOf(sessionId, 'boxes.jsonl'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as JournalLine);
    },
    async close() {
      await cluster.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function findFiles(directory: string, name: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return findFiles(path, name);
    return entry.name === name ? [path] : [];
  });
}

/** Waits for a condition with a bound; a state that comes by heartbeat has no event to wait for. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  boundMs = 60_000,
): Promise<T> {
  const end = performance.now() + boundMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`not within ${boundMs} ms: ${what}`);
    await pause(50);
  }
}

export function handlersOf(session: SessionView): (ObservedHandler & { node_id: number })[] {
  return session.nodes.flatMap(({ node_id, observed }) =>
    observed.handlers.map((handler) => ({ ...handler, node_id })),
  );
}

/** Sequences that the sink has seen. */
export function sinkSequence(session: SessionView): number {
  const sink = handlersOf(session).find((handler) => handler.handler_name === 'render');
  return sink?.stats?.last_sequence ?? -1;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** capture -> encode on one node; decode, detect on a second; align, recognize on a third; draw, render at the source. */
export function spreadFaceService(overrides: { service_id: number; service_name: string; fps?: number }): object {
  const { fps = 0, ...names } = overrides;
  // Declared small, so that a loaded machine does not refuse what the test is not about.
  const cost = { cpu_ms: 1, mem_mb: 50 };
  const handler = (
    handler_id: number,
    handler_name: string,
    handler_type: string,
    at: string | number,
    params = {},
  ) => ({
    ...{ handler_id, handler_name, handler_type, at, params, cost },
  });
  const link = (source_handler: number, target_handler: number, target_input = 0) => ({
    source_handler,
    target_handler,
    target_input,
  });
  return {
    ...names,
    handlers: [
      handler(1, 'capture', 'capture', 'source', { fps, source: '.', width: 640 }),
      handler(2, 'encode', 'encode', 'source'),
      handler(3, 'decode', 'decode', 1),
      handler(4, 'detect', 'detect_face', 1, { model: 'tiny_face_detector' }),
      handler(5, 'align', 'align', 2, { predictor: 'face_landmark_68_tiny' }),
      handler(6, 'recognize', 'recognize_face', 2, { model: 'face_recognition' }),
      handler(7, 'draw', 'draw_labeled_boxes', 'source'),
      handler(8, 'render', 'render', 'source', { boxes: true, write_frames: false }),
    ],
    links: [link(1, 2), link(2, 3), link(3, 4), link(4, 5), link(5, 6), link(6, 7, 1), link(1, 7), link(7, 8)],
  };
}
