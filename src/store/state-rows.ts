/** Sessions, nodes and events as rows of the state tables, the same in every engine. */
import type { OrchestratorEvent } from '../contracts/event.js';
import type { StoredSession } from '../contracts/session.js';
import type { EventQuery, NodeSeen, SqlValue } from './store.js';

export interface SessionRow {
  readonly session_id: number;
  readonly desired: StoredSession['desired'];
  readonly generation: number;
  readonly created_at: number;
  readonly ended_at: number | null;
  readonly ended_state: 'stopped' | 'failed' | null;
  readonly ended_reason: string | null;
  readonly request: string;
  readonly plan: string;
}

/** In the order of the columns of `session`. */
export function sessionValues(session: StoredSession): SqlValue[] {
  const { session_id, request, desired, generation, plan, created_at, ended } = session;
  return [
    ...[session_id, plan.service_name, desired, generation, created_at],
    ...[ended?.at ?? null, ended?.state ?? null, ended?.reason ?? null],
    ...[JSON.stringify(request), JSON.stringify(plan)],
  ];
}

export function sessionOf(row: SessionRow): StoredSession {
  const { session_id, desired, generation, created_at, ended_at, ended_state, ended_reason } = row;
  const ended = ended_at === null ? null : { at: ended_at, state: ended_state!, reason: ended_reason! };
  const [request, plan] = [JSON.parse(row.request), JSON.parse(row.plan)];
  return { session_id, request, desired, generation, plan, created_at, ended };
}

export type NodeRow = Omit<NodeSeen, 'facts'> & { readonly facts: string | null };

export function nodeOf(row: NodeRow): NodeSeen {
  return { ...row, facts: row.facts === null ? null : JSON.parse(row.facts) };
}

/** The WHERE of a query for events, empty without bounds, and what its `?` stand for. */
export function eventWhere({ since, session_id, node_id }: EventQuery): { where: string; values: number[] } {
  const bounds = [
    ...(since === undefined ? [] : [['timestamp >= ?', since] as const]),
    ...(session_id === undefined ? [] : [['session_id = ?', session_id] as const]),
    ...(node_id === undefined ? [] : [['node_id = ?', node_id] as const]),
  ];
  const where = bounds.length === 0 ? '' : `WHERE ${bounds.map(([text]) => text).join(' AND ')}`;
  return { where, values: bounds.map(([, value]) => value) };
}

/** Columns that are NULL are keys that were absent. */
export function eventOf(row: Record<string, unknown>): OrchestratorEvent {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as OrchestratorEvent;
}
