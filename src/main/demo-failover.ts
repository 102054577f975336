/**
 * The death of a node, timed from outside: SIGKILL to an agent that runs model handlers, then the coordinator's own events
 * and the arrivals at the sink until frames come from the new placement.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import type { SessionView } from '../contracts/session.js';
import type { LocalCluster } from './cluster.js';
import { outageOf, ranges, type SinkWatch } from './demo-watch.js';
import { seconds, timeOfDay } from './text/table.js';

export interface DemoEvent {
  readonly time: string;
  readonly text: string;
}

export interface FailoverOptions {
  readonly cluster: LocalCluster;
  readonly sessionId: number;
  readonly watch: SinkWatch;
  readonly signal: AbortSignal;
  onKill(text: string): void;
  onEvent(event: DemoEvent): void;
}

export interface Recovery {
  readonly node_name: string;
  readonly handlers: readonly { readonly handler_name: string; readonly to: string }[];
  /** From the signal until the coordinator called the node lost, ms. */
  readonly noticed_ms: number;
  /** From the signal until the first frame of the new placement, ms: at the sink, or else as the coordinator saw it. */
  readonly resumed_ms: number;
  /** The longest time without a frame at the sink, ms; null when none has arrived in time since. */
  readonly gap_ms: number | null;
  readonly lost_sequences: readonly number[];
}

/** Types that run a model. */
const MODEL_TYPES = new Set(['detect_object', 'detect_face', 'align', 'recognize_face', 'dlib_align_recognize']);

const RECOVERY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** What the coordinator knows of frames is as old as this, s. */
const HEARTBEAT_S = 0.5;
/** The new placement works but no frame meets its deadline (a machine that is busy with other things), s. */
const DELIVERY_GRACE_S = 15;
/** Of an event on the screen, characters; the whole of it is in the database. */
const MESSAGE_MAX = 240;

export async function killAndRecover(options: FailoverOptions): Promise<Recovery> {
  const { cluster, sessionId, onKill } = options;
  const { coordinator } = cluster;
  const before = await coordinator.session(sessionId);
  const victim = await victimOf(cluster, before);
  const moved = before.plan.handlers.filter((handler) => handler.node_id === victim.node.node_id);
  const killedAt = Date.now() / 1000;
  victim.daemon.kill();
  const names = moved.map((handler) => handler.handler_name).join(', ');
  onKill(
    `${timeOfDay(killedAt)}  kill -9 ${victim.daemon.pid}: the agent of ${victim.node.node_name}, which runs ${names}`,
  );

  const seen = new EventPrinter(options, killedAt);
  const deadline = performance.now() + RECOVERY_TIMEOUT_MS;
  for (;;) {
    await sleep(POLL_MS, undefined, { signal: options.signal });
    await seen.look();
    const recovered = seen.recoveredAt;
    const delivered = recovered !== null && options.watch.deliveredSince(recovered - HEARTBEAT_S);
    const flowing = delivered || (recovered !== null && Date.now() / 1000 > recovered + DELIVERY_GRACE_S);
    if (flowing && seen.lostAt !== null) {
      const { plan } = await coordinator.session(sessionId);
      // Frames that were past the dead node still arrive after the kill: the gap behind them is what counts.
      const outage = outageOf(options.watch.since(0), killedAt);
      return {
        node_name: victim.node.node_name,
        handlers: moved.map(({ handler_id, handler_name }) => ({
          handler_name,
          to: plan.handlers.find((one) => one.handler_id === handler_id)?.node_name ?? '-',
        })),
        noticed_ms: Math.round((seen.lostAt - killedAt) * 1000),
        resumed_ms: Math.round(((outage?.resumedAt ?? recovered) - killedAt) * 1000),
        gap_ms: outage === null ? null : Math.round(outage.gapMs),
        lost_sequences: options.watch
          .since(killedAt)
          .filter((one) => one.dropped !== null)
          .map((one) => one.sequence),
      };
    }
    if (performance.now() > deadline) {
      const session = await coordinator.session(sessionId);
      const state = `${session.observed}${session.problem === undefined ? '' : `: ${session.problem}`}`;
      const message = `no frame ${RECOVERY_TIMEOUT_MS} ms after ${victim.node.node_name} was killed; session ${state.slice(0, MESSAGE_MAX)}`;
      throw new OrchestratorError('HANDLER_TIMEOUT', message);
    }
  }
}

/** The node with most model handlers that is not the source's. */
async function victimOf(cluster: LocalCluster, { plan }: SessionView) {
  const types = new Map(
    (await cluster.coordinator.handlerTypes()).map((type) => [type.handler_type_id, type.handler_type_name]),
  );
  const counted = cluster.nodes
    .filter(({ node }) => node.node_id !== plan.source_node)
    .map((one) => ({
      one,
      models: plan.handlers.filter(
        (handler) => handler.node_id === one.node.node_id && MODEL_TYPES.has(types.get(handler.handler_type) ?? ''),
      ).length,
    }))
    .sort((a, b) => b.models - a.models);
  const victim = counted[0];
  if (victim === undefined || victim.models === 0) {
    throw new OrchestratorError('NODE_NOT_FOUND', 'no node but the client runs a model: there is nothing to fail over');
  }
  return victim.one;
}

/** Prints the coordinator's events from the kill on, each once. */
class EventPrinter {
  /** When the coordinator called a node lost, s since the epoch. */
  lostAt: number | null = null;
  /** When it saw frames of the new placement, s since the epoch. */
  recoveredAt: number | null = null;
  readonly #options: FailoverOptions;
  readonly #since: number;
  readonly #printed = new Set<string>();

  constructor(options: FailoverOptions, since: number) {
    this.#options = options;
    this.#since = since;
  }

  async look(): Promise<void> {
    const events = await this.#options.cluster.coordinator.events({ after: this.#since, limit: 200 });
    for (const event of events) {
      const key = JSON.stringify(event);
      if (this.#printed.has(key)) continue;
      this.#printed.add(key);
      if (event.kind === 'node.lost') this.lostAt ??= event.timestamp;
      if (event.kind === 'session.recovered') this.recoveredAt ??= event.timestamp;
      this.#print(event);
    }
  }

  #print({ timestamp, kind, message }: OrchestratorEvent): void {
    const short = message.length > MESSAGE_MAX ? `${message.slice(0, MESSAGE_MAX)} ...` : message;
    this.#options.onEvent({ time: timeOfDay(timestamp), text: `${kind.padEnd(18)}  ${short}` });
  }
}

/** `edge lost after 1.0 s | detect -> cloud | frames flow again 2.4 s after the kill | 12 lost (seq 1201-1212)` */
export function recoveryText(recovery: Recovery): string {
  const moves = recovery.handlers.map(({ handler_name, to }) => `${handler_name} -> ${to}`).join(', ');
  const { length } = recovery.lost_sequences;
  const lost = length === 0 ? 'none lost' : `${length} lost (seq ${ranges(recovery.lost_sequences)})`;
  const gap =
    recovery.gap_ms === null
      ? 'by the coordinator; none has met its deadline at the sink yet: this machine is busy'
      : `longest gap at the sink ${seconds(recovery.gap_ms)}`;
  return [
    '',
    `${recovery.node_name} called lost ${seconds(recovery.noticed_ms)} after the kill | ${moves}`,
    `  | frames flow again ${seconds(recovery.resumed_ms)} after the kill (${gap}) | ${lost}`,
  ].join('\n');
}
