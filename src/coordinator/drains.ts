/**
 * Nodes that are to be emptied before maintenance. The flag is stored, so a drained node stays so over restarts; how far
 * it is, is computed from plans and heartbeats, and what it has moved is counted since this process began to look.
 *
 *     used --drain--> draining --nothing is left that can move--> drained --undrain--> used
 *                        ^------ a handler there came free to move -----|
 *
 * Who moves where is the planning loop's decision, and a live move like any other. Here is only what it should look at
 * (`news`), and what stays by its nature: frames begin and end where they do, and a pin is a pin.
 */
import type { LoopEvent } from '../allocation/fleet/loop-rules.js';
import { drainWords, type NodeDrain } from '../contracts/drain.js';
import type { PlannedHandler } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';
import { anchorWords } from './anchors.js';
import type { EventLog } from './event-log.js';
import type { NodeRegistry, RegisteredNode } from './node-registry.js';
import { observedState, type SessionRecord } from './session-record.js';
import type { SessionTable } from './session-table.js';
import { type SinkTally, sinkDifference, sinkTally } from './sink-tally.js';

export interface DrainsOptions {
  readonly table: SessionTable;
  readonly registry: NodeRegistry;
  readonly events: EventLog;
  readonly clock: Clock;
}

/** A session that had handlers on the node when it was first looked at. */
interface Seen {
  readonly handlers: ReadonlySet<number>;
  readonly tally: SinkTally;
}

interface Progress {
  readonly seen: Map<number, Seen>;
  /** `drained` was told, and nothing has come free since. */
  told: boolean;
}

type Stay = NodeDrain['stays'][number];

export class Drains {
  readonly #options: DrainsOptions;
  readonly #progress = new Map<number, Progress>();
  /** By session_id: why it found no place elsewhere, for the plan of that generation. */
  readonly #stays = new Map<number, { readonly generation: number; readonly reason: string }>();

  constructor(options: DrainsOptions) {
    this.#options = options;
  }

  /** From now on the node takes no new handlers, and those that can leave it do. Throws NODE_NOT_FOUND. */
  async drain(ref: number | string): Promise<RegisteredNode> {
    const { registry, events, clock } = this.#options;
    const node = registry.find(ref);
    const { node_id, node_name } = node.file;
    if (node.drainedSince !== null) return node;
    await registry.setDrained(node_id, clock.now());
    this.#stays.clear();
    for (const [record] of this.#there(node)) record.failedMove = null;
    events.emit({
      kind: 'node.draining',
      node_id,
      message: `${node_name} takes no new handlers | ${this.#leftWords(node)}`,
    });
    return node;
  }

  /** It may be used again. Throws NODE_NOT_FOUND. */
  async undrain(ref: number | string): Promise<RegisteredNode> {
    const { registry, events } = this.#options;
    const node = registry.find(ref);
    const { node_id, node_name } = node.file;
    if (node.drainedSince === null) return node;
    await registry.setDrained(node_id, null);
    this.#progress.delete(node_id);
    events.emit({ kind: 'node.undrained', node_id, message: `${node_name} is used again` });
    return node;
  }

  /** What the planning loop should look at; tells when a node is drained. */
  news(): LoopEvent[] {
    const { registry } = this.#options;
    return registry.all().flatMap((node): LoopEvent[] => {
      if (node.drainedSince === null) return [];
      const progress = this.#progressOf(node);
      const waits = this.#left(node).some(({ record }) => this.#isFree(record));
      this.#tell(node, progress);
      return waits ? [{ kind: 'node_drained', node_id: node.file.node_id }] : [];
    });
  }

  /** The loop found no place elsewhere for what the session has on drained nodes. */
  stay(record: SessionRecord, reason: string): void {
    const { session_id, generation } = record.stored;
    this.#stays.set(session_id, { generation, reason });
  }

  view(node: RegisteredNode): NodeDrain | null {
    if (node.drainedSince === null) return null;
    const { seen } = this.#progressOf(node);
    const left = this.#left(node).length + this.#going(node).length;
    const moved = [...seen].flatMap(([id, one]) => this.#movedOf(node, id, one));
    const sum = (of: (one: { lost: number; duplicated: number }) => number) =>
      moved.reduce((total, { difference }) => total + (difference === null ? 0 : of(difference)), 0);
    return {
      since: node.drainedSince,
      state: left === 0 ? 'drained' : 'draining',
      left,
      stays: this.#staying(node),
      moved_handlers: moved.reduce((total, { handlers }) => total + handlers, 0),
      moved_sessions: moved.length,
      lost: sum(({ lost }) => lost),
      duplicated: sum(({ duplicated }) => duplicated),
      uncounted: moved.filter(({ difference }) => difference === null).map(({ session_id }) => session_id),
    };
  }

  #movedOf(node: RegisteredNode, session_id: number, { handlers, tally }: Seen) {
    const { table, registry } = this.#options;
    const record = table.get(session_id);
    if (record === undefined || record.stored.ended !== null) return [];
    const now = record.stored.plan.handlers.filter(({ handler_id }) => handlers.has(handler_id));
    const elsewhere = now.filter(({ node_id }) => node_id !== node.file.node_id).length;
    const gone = elsewhere - this.#going(node).filter((id) => id === session_id).length;
    if (gone <= 0) return [];
    return [{ session_id, handlers: gone, difference: sinkDifference(tally, sinkTally(record, registry)) }];
  }

  #progressOf(node: RegisteredNode): Progress {
    const { registry } = this.#options;
    const { node_id } = node.file;
    const progress = this.#progress.get(node_id) ?? { seen: new Map<number, Seen>(), told: false };
    this.#progress.set(node_id, progress);
    for (const [record, handlers] of this.#there(node)) {
      const { session_id } = record.stored;
      if (progress.seen.has(session_id) || observedState(record, registry) !== 'running') continue;
      const ids = new Set(handlers.map(({ handler_id }) => handler_id));
      progress.seen.set(session_id, { handlers: ids, tally: sinkTally(record, registry) });
    }
    return progress;
  }

  /** Sessions with their handlers on the node. */
  #there({ file }: RegisteredNode): [SessionRecord, PlannedHandler[]][] {
    const records = this.#options.table.active().filter((record) => record.nodeIds.has(file.node_id));
    return records
      .filter(({ suspension }) => suspension?.kind !== 'placement')
      .map((record) => [record, record.stored.plan.handlers.filter(({ node_id }) => node_id === file.node_id)]);
  }

  /** Handlers that are to move and have not. */
  #left(node: RegisteredNode): { record: SessionRecord; handler: PlannedHandler }[] {
    return this.#there(node).flatMap(([record, handlers]) =>
      handlers.filter((handler) => this.#whyStays(record, handler) === null).map((handler) => ({ record, handler })),
    );
  }

  #staying(node: RegisteredNode): Stay[] {
    return this.#there(node).flatMap(([record, handlers]) =>
      handlers.flatMap((handler): Stay[] => {
        const reason = this.#whyStays(record, handler);
        const { handler_id, handler_name } = handler;
        return reason === null ? [] : [{ session_id: record.stored.session_id, handler_id, handler_name, reason }];
      }),
    );
  }

  #whyStays(record: SessionRecord, handler: PlannedHandler): string | null {
    const { session_id, generation } = record.stored;
    const anchor = anchorWords(record, handler);
    if (anchor !== null) return anchor;
    if (record.suspension !== null) return `the session is suspended: ${record.suspension.reason}`;
    if (record.failedMove?.generation === generation) return `its move failed: ${record.failedMove.reason}`;
    const stay = this.#stays.get(session_id);
    return stay?.generation === generation ? stay.reason : null;
  }

  /** Not on its way already. */
  #isFree(record: SessionRecord): boolean {
    const state = observedState(record, this.#options.registry);
    return state === 'running' || (state === 'ready' && record.stored.desired === 'ready');
  }

  /** Handlers that still run there although their plans have them elsewhere, or end; each by its session_id. */
  #going({ file, status }: RegisteredNode): number[] {
    if (status.state !== 'up') return [];
    return [...status.sessions.values()].flatMap(({ session_id, handlers }) => {
      const record = this.#options.table.get(session_id);
      const isEnding = record === undefined || record.stored.ended !== null;
      const planned = isEnding ? [] : record.stored.plan.handlers.filter(({ node_id }) => node_id === file.node_id);
      const stays = new Set(planned.map(({ handler_id }) => handler_id));
      // One that is being deleted has no handlers to tell of, and its hosts may still drain.
      if (handlers.length === 0 && stays.size === 0) return [session_id];
      return handlers.filter(({ handler_id }) => !stays.has(handler_id)).map(() => session_id);
    });
  }

  #tell(node: RegisteredNode, progress: Progress): void {
    const view = this.view(node)!;
    const isDrained = view.state === 'drained';
    if (isDrained && !progress.told) {
      const { node_id, node_name } = node.file;
      this.#options.events.emit({
        kind: 'node.drained',
        node_id,
        message: `${node_name} drained | ${drainWords(view)}`,
      });
    }
    progress.told = isDrained;
  }

  #leftWords(node: RegisteredNode): string {
    const left = this.#left(node).length;
    return left === 0 ? 'nothing has to move' : `${left} ${left === 1 ? 'handler' : 'handlers'} to move`;
  }
}
