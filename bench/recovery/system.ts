/** The system of the recovery bench: three coordinators, a camera, three workers on machines of their own, one session. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorHealth } from '#src/client/answers.js';
import type { ChildDaemon } from '#src/main/child-daemon.js';
import { type LocalCluster, startCluster } from '#src/main/cluster.js';
import { awaitMoved } from '#src/main/move-wait.js';
import { awaitRunning, awaitSession } from '#src/main/session-wait.js';
import { encodeJpeg } from '#src/vision/images.js';
import { startMariadb, type TestServer } from '../../src/store/mysql/mariadb.testing.js';
import { openSwitch, type Switch } from '../../test/support/namespaces.js';
import { type Arrivals, followArrivals } from './arrivals.js';

const WORKERS = 3;
const FPS = 30;
/** Frames in a row after which they are said to flow. */
const FLOWS = 20;
const WAIT_MS_MAX = 30_000;
const POLL_MS = 10;

/** capture, encode, render at the camera; decode and resize on a worker. */
const SERVICE = {
  ...{ service_id: 1, service_name: 'recovery' },
  handlers: ['capture', 'encode', 'decode', 'resize', 'render'].map((type, index) => ({
    ...{
      handler_id: index + 1,
      handler_name: type,
      handler_type: type,
      at: index === 2 || index === 3 ? 'work' : 'source',
    },
    cost: { cpu_ms: 1, mem_mb: 20 },
    params:
      {
        capture: { fps: FPS, loop: true },
        resize: { width: 64, height: 0 },
        render: { boxes: true, write_frames: false },
      }[type] ?? {},
  })),
  links: [1, 2, 3, 4].map((id) => ({ source_handler: id, target_handler: id + 1 })),
};

export type SessionDelivery = 'latest' | 'all';

export interface Victim {
  kill(): void;
  unplug(): void;
  heal(): Promise<void>;
}

export interface Leader {
  readonly daemon: ChildDaemon;
  readonly epoch: number;
}

export class RecoverySystem {
  #sessionId = 0;
  #delivery: SessionDelivery | null = null;

  private constructor(
    readonly cluster: LocalCluster,
    private readonly network: Switch,
    private readonly server: TestServer,
    private readonly dir: string,
  ) {}

  static async start(): Promise<RecoverySystem> {
    const dir = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
    const [services, pictures] = [join(dir, 'services'), join(dir, 'pictures')];
    for (const one of [services, pictures]) mkdirSync(one);
    writeFileSync(join(services, 'recovery.json'), JSON.stringify(SERVICE));
    const data = Buffer.alloc(160 * 120 * 3, 128);
    writeFileSync(join(pictures, '0.jpg'), await encodeJpeg({ width: 160, height: 120, data }, 80));
    const server = await startMariadb();
    const network = openSwitch(WORKERS);
    const cluster = await startCluster({
      ...{ dataDir: join(dir, 'data'), servicesDir: services, allow: [pictures], collector: true, token: null },
      ...{ address: network.address, coordinators: 3, databaseSection: section(server) },
      nodes: [
        { node_id: 0, node_name: 'camera', node_type: 'client' },
        ...network.machines.map(({ address, launcher }, index) => ({
          ...{ node_id: index + 1, node_name: `worker-${index + 1}`, node_type: 'edge' as const, labels: ['work'] },
          network: { address, launcher },
        })),
      ],
    });
    return new RecoverySystem(cluster, network, server, dir);
  }

  /** From now on a session of this delivery is looked at, and no other one runs. */
  async use(delivery: SessionDelivery): Promise<void> {
    if (delivery === this.#delivery) return;
    const { coordinator } = this.cluster;
    if (this.#delivery !== null) {
      await coordinator.stopSession(this.#sessionId);
      await awaitSession(coordinator, this.#sessionId, ({ observed }) => observed === 'stopped');
    }
    const request = { service: 'recovery', source: join(this.dir, 'pictures'), source_node: 0, delivery };
    this.#sessionId = (await coordinator.createSession(request)).session_id!;
    this.#delivery = delivery;
    await awaitRunning(coordinator, this.#sessionId);
  }

  /** Moves `decode` to the next worker; answers when it runs there and the old one is left. */
  async move(): Promise<void> {
    const { plan } = await this.cluster.coordinator.session(this.#sessionId);
    const { node_id } = plan.handlers.find(({ handler_name }) => handler_name === 'decode')!;
    await this.cluster.coordinator.moveHandler(this.#sessionId, { handler: 'decode', node: (node_id % WORKERS) + 1 });
    await awaitMoved(this.cluster.coordinator, this.#sessionId);
  }

  async close(): Promise<void> {
    await this.cluster.close();
    this.network.close();
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Every node is there, and the session runs. */
  settled(): Promise<true> {
    return until('a settled system', async () => {
      const nodes = await this.cluster.coordinator.nodes();
      const { observed } = await this.cluster.coordinator.session(this.#sessionId);
      return nodes.every(({ state }) => state === 'up') && observed === 'running' ? true : undefined;
    });
  }

  /** The worker that has the handlers now. */
  async victim(): Promise<Victim> {
    const { plan } = await this.cluster.coordinator.session(this.#sessionId);
    const nodeId = plan.handlers.find(({ handler_name }) => handler_name === 'decode')!.node_id;
    const { daemon } = this.cluster.nodes[nodeId]!;
    const machine = this.network.machines[nodeId - 1]!;
    let wasKilled = false;
    return {
      kill: () => {
        wasKilled = true;
        daemon.killGroup();
      },
      unplug: () => machine.unplug(),
      heal: async () => (wasKilled ? daemon.restart() : machine.plug()),
    };
  }

  /** Monotonic time at which an event of that kind was first seen to have been told after `sinceMs`. */
  async event(kind: string, sinceMs: number): Promise<number> {
    const after = (performance.timeOrigin + sinceMs) / 1000;
    const query = { after, session_id: this.#sessionId };
    const found = await until(kind, async () =>
      (await this.cluster.coordinator.events(query)).find((event) => event.kind === kind),
    );
    return found.timestamp * 1000 - performance.timeOrigin;
  }

  /** The one that leads; with `old`, the next one: that is not asked, because it may be stopped. */
  async leader(old?: Leader): Promise<Leader & { readonly seenMs: number }> {
    const others = this.cluster.controllers.coordinators.filter(({ daemon }) => daemon !== old?.daemon);
    return until('a leader', async () => {
      const answers = others.map(async ({ url, daemon }) => {
        const answer = await fetch(`${url}/v1/health`, { signal: AbortSignal.timeout(500) }).catch(() => null);
        const health = (await answer?.json()) as CoordinatorHealth | undefined;
        const leads = health?.status === 'ok' && health.epoch > (old?.epoch ?? 0);
        return leads ? { daemon, epoch: health.epoch, seenMs: performance.now() } : undefined;
      });
      return (await Promise.all(answers)).find((one) => one !== undefined);
    });
  }

  /** Follows the lines of the sink from now on. */
  arrivals(): Arrivals {
    return followArrivals(this.#journal());
  }

  /** Frames come at their pace again; then nothing is looked at any more. */
  async flows(arrivals: Arrivals): Promise<void> {
    const spanMs = (2 * FLOWS * 1000) / FPS;
    await until('frames', async () => {
      const { frames } = arrivals;
      const first = frames[frames.length - FLOWS];
      return first !== undefined && performance.now() - first.atMs < spanMs ? true : undefined;
    });
    arrivals.stop();
  }

  #journal(): string {
    const outputs = join(this.dir, 'data', 'camera', 'outputs', String(this.#sessionId));
    const found = readdirSync(outputs, { recursive: true }).find((name) => String(name).endsWith('boxes.jsonl'));
    return join(outputs, String(found));
  }
}

function section(server: TestServer): Record<string, string | number> {
  const { host, port, user, password, schema } = server.options('reports');
  return { db_addr: host, db_port: port, db_user: user, db_passwd: password, db_schema: schema };
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}`);
    await sleep(POLL_MS);
  }
}
