/**
 * Three coordinators on one MariaDB: one leads at any time, as the nodes see it by epoch; when the leader is killed, or
 * stopped and goes on later, another one takes over, clients follow, and no session is disturbed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createCoordinatorClient, createNodeClient, type NodeClient } from '../src/client/index.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import { hasMariadb, startMariadb, type TestServer } from '../src/store/mysql/mariadb.testing.js';
import { wholeJournal } from './support/fault-system.js';
import { eventually, handlersOf, startSystem, type TestSystem } from './support/system.js';

const SERVICE = {
  service_id: 1,
  service_name: 'away',
  handlers: ['capture', 'encode', 'decode', 'render'].map((type, index) => ({
    ...{ handler_id: index + 1, handler_name: type, handler_type: type, at: index === 2 ? 1 : 'source' },
    ...{ cost: { cpu_ms: 1, mem_mb: 20 } },
    params: {
      ...(type === 'capture' ? { fps: 10, source: '.', loop: true, width: 160 } : {}),
      ...(type === 'render' ? { boxes: true, write_frames: false } : {}),
    },
  })),
  links: [1, 2, 3].map((source_handler) => ({ source_handler, target_handler: source_handler + 1 })),
};

/** Looks at the epoch of every node all the time: it must never go back. */
class EpochWatch {
  readonly seen = new Map<NodeClient, number>();
  readonly backwards: string[] = [];
  #watching = true;
  readonly #done: Promise<unknown>;

  constructor(readonly nodes: readonly NodeClient[]) {
    this.#done = Promise.all(nodes.map((node) => this.#watch(node)));
  }

  async stop(): Promise<void> {
    this.#watching = false;
    await this.#done;
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  async #watch(node: NodeClient): Promise<void> {
    while (this.#watching) {
      const { epoch } = await node.heartbeat();
      const before = this.seen.get(node) ?? 0;
      if (epoch < before) this.backwards.push(`${node.url}: ${before} -> ${epoch}`);
      this.seen.set(node, epoch);
      await pause(20);
    }
  }
}

describe.runIf(hasMariadb())('three coordinators on one MariaDB', () => {
  let server: TestServer;
  let system: TestSystem;
  let watch: EpochWatch;
  let id: number;
  let pids: (number | null)[];

  beforeAll(async () => {
    server = await startMariadb();
    const { host, port, user, password, schema } = server.options('reports');
    system = await startSystem({
      services: [SERVICE],
      coordinators: 3,
      databaseSection: { db_addr: host, db_port: port, db_user: user, db_passwd: password, db_schema: schema },
    });
    watch = new EpochWatch(system.nodes.map(({ url }) => createNodeClient({ url, token: null })));
    const request = {
      service: 'away',
      source: system.pictures('endless', 3),
      delivery: 'all',
      source_node: 0,
    } as const;
    id = (await system.coordinator.createSession(request)).session_id!;
    pids = handlersOf(await awaitRunning(system.coordinator, id)).map(({ pid }) => pid);
  });

  afterAll(async () => {
    await watch?.stop();
    await system?.close();
    await server?.stop();
  });

  /** What each coordinator that answers says of itself. */
  const roles = async () => {
    const answers = system.controllers.coordinators.map(async ({ url, daemon }) => {
      const answer = await fetch(`${url}/v1/health`, { signal: AbortSignal.timeout(500) }).catch(() => null);
      const health = (await answer?.json()) as { status: string; epoch: number; leader?: string } | undefined;
      return { url, daemon, status: health?.status, epoch: health?.epoch ?? 0, leader: health?.leader };
    });
    return Promise.all(answers);
  };
  const leaderBesides = (old?: { epoch: number; url: string }) =>
    eventually('one leads, and the others say so', async () => {
      const answering = (await roles()).filter((one) => one.status !== undefined && one.url !== old?.url);
      const [leader, ...more] = answering.filter((one) => one.status === 'ok');
      if (leader === undefined || leader.epoch <= (old?.epoch ?? 0)) return undefined;
      expect(more).toEqual([]);
      const followers = answering.filter((one) => one !== leader);
      return followers.every((one) => one.leader === leader.url) ? leader : undefined;
    });
  const undisturbed = async () => {
    const before = wholeJournal(system, id);
    await eventually('frames flow', () => (wholeJournal(system, id) > before + 10 ? true : undefined));
    const view = await system.coordinator.session(id);
    expect(view).toMatchObject({ observed: 'running', generation: 1 });
    expect(handlersOf(view).map(({ pid, restarts }) => [pid, restarts])).toEqual(pids.map((pid) => [pid, 0]));
  };
  const nodesSee = (epoch: number) =>
    eventually(`every node sees epoch ${epoch}`, () =>
      [...watch.seen.values()].every((seen) => seen === epoch) ? true : undefined,
    );

  test('one leads; a follower names it, and a client that knows only a follower gets there', async () => {
    const leader = await leaderBesides();
    const follower = (await roles()).find((one) => one.url !== leader.url)!;
    const answer = await fetch(`${follower.url}/v1/sessions`);
    expect([answer.status, await answer.json()]).toEqual([
      503,
      expect.objectContaining({ code: 'NOT_LEADER', context: { leader: leader.url } }),
    ]);
    const client = createCoordinatorClient({ url: follower.url, token: null });
    expect((await client.sessions()).map(({ session_id }) => session_id)).toEqual([id]);
    expect(client.url).toBe(leader.url);
    await client.close();
    await nodesSee(leader.epoch);
    await undisturbed();
  });

  test('a killed leader is followed by another one, and comes back as a follower', async () => {
    const old = await leaderBesides();
    old.daemon.kill();
    const leader = await leaderBesides(old);
    await nodesSee(leader.epoch);
    await undisturbed();
    await old.daemon.restart();
    expect((await leaderBesides({ url: '', epoch: leader.epoch - 1 })).url).toBe(leader.url);
  });

  test('a stopped leader that goes on does nothing any more, and follows', async () => {
    const old = await leaderBesides();
    process.kill(old.daemon.pid, 'SIGSTOP');
    const leader = await leaderBesides(old);
    await nodesSee(leader.epoch);
    await undisturbed();
    process.kill(old.daemon.pid, 'SIGCONT');
    await eventually('the old leader follows', async () => {
      const one = (await roles()).find(({ url }) => url === old.url)!;
      return one.status === 'follower' && one.leader === leader.url ? true : undefined;
    });
    await nodesSee(leader.epoch);
    await undisturbed();
    expect(watch.backwards).toEqual([]);
  });

  test('a database that is away for a while costs no frame, and then one leads and does what it is told', async () => {
    const leader = await leaderBesides();
    await server.kill();
    const before = wholeJournal(system, id);
    await eventually('frames flow', () => (wholeJournal(system, id) > before + 30 ? true : undefined));
    await server.start();
    await eventually('a session is stopped', async () => {
      await system.coordinator.stopSession(id).catch(() => {});
      return (await system.coordinator.session(id)).desired === 'stopped' ? true : undefined;
    });
    await awaitSession(system.coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 60_000 });
    wholeJournal(system, id);
    expect((await leaderBesides()).epoch).toBeGreaterThanOrEqual(leader.epoch);
  }, 120_000);
});
