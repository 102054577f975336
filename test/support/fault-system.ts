/**
 * A system that is broken on purpose: controllers and the camera's node here, workers on machines of their own, a
 * MariaDB server, two sessions under load. Each fault is a pair: what breaks, and what puts it right again.
 */
import { readFileSync } from 'node:fs';
import type { Loss } from '../../src/contracts/loss.js';
import type { ChildDaemon } from '../../src/main/child-daemon.js';
import { awaitRunning } from '../../src/main/session-wait.js';
import { startMariadb, type TestServer } from '../../src/store/mysql/mariadb.testing.js';
import { openSwitch, type Switch } from './namespaces.js';
import { descriptors, processesWith } from './processes.js';
import { eventually, handlersOf, startSystem, type TestSystem } from './system.js';

export interface Fault {
  readonly name: string;
  /** How long it lasts at most, ms; it lasts a random part of that. */
  readonly lastsMsMax: number;
  break(random: () => number): Promise<void> | void;
  mend(): Promise<void> | void;
}

export interface FaultSystem {
  readonly faults: readonly Fault[];
  readonly sessionIds: Record<'all' | 'latest', number>;
  readonly system: TestSystem;
  /** Until more comes out of both sessions, every account sums, and only what is wanted runs. */
  healthy(what: string): Promise<void>;
  /** Throws when a process holds more descriptors open than in its first healthy moments. */
  checkDescriptors(): void;
  /** Processes of the system that are left. */
  processes(): ReturnType<typeof processesWith>;
  close(): Promise<void>;
}

const WORKERS = 3;
/** What must come out of each session after a fault to call it healthy, packets. */
const PROGRESS = 8;
/** A database or a node that is started anew under load takes its time, ms. */
const HEALTHY_MS_MAX = 90_000;
/**
 * Descriptors that come and go: kept-alive connections of three clients to each of four peers (8 at most each), a spool
 * file, and links that are being dialled again.
 */
const DESCRIPTORS_SLACK = 40;

/** capture, encode, render at the camera; decode, resize where the allocator likes. */
function service(service_id: number, service_name: string, boxes: boolean): object {
  const types = ['capture', 'encode', 'decode', 'resize', 'render'];
  const places = ['source', 'source', 'work', 'work', 'source'];
  const params: Record<string, object> = {
    capture: { fps: 10, source: '.', loop: true, width: 160 },
    resize: { width: 64, height: 0 },
    render: { boxes, write_frames: false },
  };
  return {
    ...{ service_id, service_name },
    handlers: types.map((type, index) => ({
      ...{ handler_id: index + 1, handler_name: type, handler_type: type, at: places[index] },
      ...{ params: params[type] ?? {}, cost: { cpu_ms: 1, mem_mb: 20 } },
    })),
    links: types.slice(1).map((_, index) => ({ source_handler: index + 1, target_handler: index + 2 })),
  };
}

export async function startFaultSystem(): Promise<FaultSystem> {
  const closers: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const server = await startMariadb();
    closers.push(() => server.stop());
    const network = openSwitch(WORKERS);
    closers.push(() => network.close());
    const system = await startOn(server, network);
    closers.push(() => system.close());
    const source = system.pictures('endless', 3);
    const sessionIds = { all: 0, latest: 0 };
    for (const delivery of ['all', 'latest'] as const) {
      const request = { service: delivery, source, delivery, source_node: 0 };
      const { session_id } = await system.coordinator.createSession(request);
      await awaitRunning(system.coordinator, session_id!);
      sessionIds[delivery] = session_id!;
    }
    return {
      system,
      sessionIds,
      faults: faultsOf(system, network, server, sessionIds),
      ...checks(system, sessionIds),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function startOn(server: TestServer, network: Switch): Promise<TestSystem> {
  const { host, port, user, password, schema } = server.options('reports');
  return startSystem({
    services: [service(1, 'all', true), service(2, 'latest', false)],
    nodes: [
      { node_id: 0, node_name: 'camera', node_type: 'client' },
      ...network.machines.map(({ address, launcher }, index) => ({
        ...{ node_id: index + 1, node_name: `worker-${index + 1}`, node_type: 'edge' as const, labels: ['work'] },
        network: { address, launcher },
      })),
    ],
    address: network.address,
    databaseSection: { db_addr: host, db_port: port, db_user: user, db_passwd: password, db_schema: schema },
  });
}

function faultsOf(
  system: TestSystem,
  network: Switch,
  server: TestServer,
  sessionIds: FaultSystem['sessionIds'],
): Fault[] {
  const { controllers, nodes, coordinator } = system;
  const camera = nodes[0]!;
  const pick = <T>(list: readonly T[], random: () => number) => list[Math.floor(random() * list.length)]!;
  const lastsMsMax = 8_000;
  const killed = (name: string, daemonOf: (random: () => number) => ChildDaemon): Fault => {
    let victim: ChildDaemon;
    return {
      ...{ name: `SIGKILL ${name}`, lastsMsMax: lastsMsMax / 2 },
      break(random) {
        victim = daemonOf(random);
        victim.kill();
      },
      mend: () => victim.restart(),
    };
  };
  const stopped = (name: string, pidOf: (random: () => number) => Promise<number> | number): Fault => {
    let pid = 0;
    return {
      ...{ name: `SIGSTOP ${name}`, lastsMsMax },
      async break(random) {
        pid = await pidOf(random);
        signal(pid, 'SIGSTOP');
      },
      mend: () => signal(pid, 'SIGCONT'),
    };
  };
  const both = (name: string, daemonOf: (random: () => number) => ChildDaemon) => [
    killed(name, daemonOf),
    stopped(name, (random) => daemonOf(random).pid),
  ];
  const hostPid = async (random: () => number) => {
    const handlers = handlersOf(await coordinator.session(sessionIds[pick(['all', 'latest'] as const, random)]));
    return pick(
      handlers.flatMap(({ pid }) => pid ?? []),
      random,
    );
  };
  /** A node that has something to lose. */
  let plan: number[] = [1];
  const busy = (random: () => number) => nodes[pick(plan, random)]!.daemon;
  const placed = async () => {
    const sessions = await Promise.all(Object.values(sessionIds).map((id) => coordinator.session(id)));
    plan = sessions.flatMap((session) => session.plan.handlers.map((one) => one.node_id)).filter((id) => id !== 0);
  };
  const onPlan = (fault: Fault): Fault => ({
    ...fault,
    async break(random) {
      await placed();
      await fault.break(random);
    },
  });
  let unplugged = network.machines[0]!;
  return [
    {
      ...{ name: 'SIGKILL handler host', lastsMsMax: 0 },
      break: async (random) => signal(await hostPid(random), 'SIGKILL'),
      mend() {},
    },
    stopped('handler host', hostPid),
    ...both('node agent', busy).map(onPlan),
    ...both("the camera's agent", () => camera.daemon),
    ...both('coordinator', () => controllers.coordinators[0]!.daemon),
    ...both('collector', () => controllers.collector!),
    { name: 'SIGKILL database', lastsMsMax, break: () => server.kill(), mend: () => server.start() },
    {
      ...{ name: 'SIGSTOP database', lastsMsMax },
      break: () => server.signal('SIGSTOP'),
      mend: () => server.signal('SIGCONT'),
    },
    onPlan({
      ...{ name: 'node unplugged', lastsMsMax },
      break(random) {
        unplugged = network.machines[pick(plan, random) - 1]!;
        unplugged.unplug();
      },
      mend: () => unplugged.plug(),
    }),
  ];
}

/** A process that is gone needs no signal. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended meanwhile: an agent kills a host that hangs.
  }
}

export function lossFault({ sinks }: Loss, delivery: 'all' | 'latest'): string | null {
  if (sinks.length !== 1) return `${sinks.length} sinks`;
  const { sent, delivered, skipped, drops, in_flight } = sinks[0]!;
  const sum = drops.reduce((total, { packets }) => total + packets, delivered + skipped + in_flight);
  if (sum !== sent) return `the account sums to ${sum} of ${sent}`;
  return delivery === 'all' && drops.length > 0 ? `drops under \`all\`: ${JSON.stringify(drops)}` : null;
}

/** Throws unless the journal has every sequence from 0 on exactly once, in order, none dropped; answers how many. */
export function wholeJournal(system: TestSystem, sessionId: number): number {
  const lines = system.journal(sessionId);
  const wrong = lines.findIndex((line, index) => line.sequence !== index || line.dropped !== undefined);
  if (wrong >= 0) throw new Error(`line ${wrong} of the journal: ${JSON.stringify(lines.slice(wrong - 2, wrong + 3))}`);
  return lines.length;
}

function checks(
  system: TestSystem,
  sessionIds: FaultSystem['sessionIds'],
): Pick<FaultSystem, 'healthy' | 'checkDescriptors' | 'processes'> {
  const { coordinator, controllers, nodes } = system;
  const environment = readFileSync(`/proc/${controllers.coordinators[0]!.daemon.pid}/environ`, 'utf8').split('\0');
  const mark = environment.find((word) => word.startsWith('TMPDIR='))!;
  const processes = () => processesWith(mark);
  const daemons = () => [
    controllers.coordinators[0]!.daemon,
    controllers.collector!,
    ...nodes.map(({ daemon }) => daemon),
  ];
  const firstDescriptors = new Map<number, number>();

  /** Null, or what runs that should not, or the other way round. */
  const strays = async (): Promise<string | null> => {
    const wanted = new Set<number>();
    for (const id of Object.values(sessionIds)) {
      const view = await coordinator.session(id);
      if (view.observed !== 'running') return `session ${id} is ${view.observed} ${view.problem ?? ''}`;
      for (const { pid } of handlersOf(view)) if (pid !== null) wanted.add(pid);
    }
    const known = new Set(daemons().map(({ pid }) => pid));
    const extra = processes().filter(({ pid }) => !known.has(pid) && !wanted.has(pid));
    return extra.length === 0 ? null : extra.map((one) => `${one.pid} of ${one.parent}: ${one.command}`).join('\n');
  };
  const progressOf = async (id: number) => {
    const { sent, in_flight } = (await coordinator.loss(id)).sinks[0]!;
    return sent - in_flight;
  };

  return {
    processes,
    async healthy(what) {
      let seen: string | null = '';
      const before = new Map<number, number>();
      const look = async (): Promise<string | null> => {
        const lines = wholeJournal(system, sessionIds.all);
        for (const [delivery, id] of Object.entries(sessionIds) as ['all' | 'latest', number][]) {
          const progress = await progressOf(id);
          if (!before.has(id)) before.set(id, progress);
          if (progress - before.get(id)! < PROGRESS) return `session ${id}: ${progress} after ${before.get(id)}`;
          const fault = lossFault(await coordinator.loss(id), delivery);
          if (fault !== null) return `session ${id}: ${fault}`;
        }
        return (await strays()) ?? (lines > 0 ? null : 'an empty journal');
      };
      const look1 = async () => {
        seen = await look().catch((error: unknown) => {
          const message = error instanceof Error ? error.message : String(error);
          if (message.includes('of the journal')) throw error;
          return message;
        });
        return seen === null ? true : undefined;
      };
      await eventually(what, look1, HEALTHY_MS_MAX).catch(async (error: unknown) => {
        const state = await stateOf(system, Object.values(sessionIds)).catch(String);
        throw new Error(`${what}: ${error instanceof Error ? error.message : error}; last: ${seen}\n${state}`);
      });
      for (const { pid } of daemons()) {
        if (!firstDescriptors.has(pid)) firstDescriptors.set(pid, descriptors(pid) ?? 0);
      }
    },
    checkDescriptors() {
      for (const { pid, name } of daemons()) {
        const now = descriptors(pid);
        const first = firstDescriptors.get(pid);
        if (now === null || first === undefined || now <= first + DESCRIPTORS_SLACK) continue;
        throw new Error(`${name} holds ${now} descriptors open, ${first} at first`);
      }
    },
  };
}

/** What a failed test has to tell: where every handler is and how far, and what happened last. */
async function stateOf({ coordinator }: TestSystem, sessionIds: readonly number[]): Promise<string> {
  const told: string[] = [];
  for (const id of sessionIds) {
    const view = await coordinator.session(id);
    told.push(`session ${id}: ${view.observed}, generation ${view.generation}, ${view.problem ?? 'no problem'}`);
    for (const node of view.nodes) {
      for (const one of node.observed?.handlers ?? []) {
        const links = one.links.map((link) => `<${link.source_handler}${link.connected ? '' : ' cut'}`).join(' ');
        told.push(
          `  ${node.node_name} ${one.handler_name} ${one.state} pid ${one.pid} last ${one.stats?.last_sequence} received ${one.stats?.received} ${links} ${one.error ?? ''}`,
        );
      }
    }
    told.push(`  loss ${JSON.stringify((await coordinator.loss(id)).sinks)}`);
  }
  const events = await coordinator.events({ limit: 40 });
  return [...told, ...events.map(({ timestamp, kind, message }) => `${timestamp} ${kind} ${message}`)].join('\n');
}
