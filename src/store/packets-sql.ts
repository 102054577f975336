/**
 * The events of a session's newest packets, asked of any engine of SQL: statements out, rows in, so that engines that
 * answer at once and engines that are awaited share it. All of it reads along the index that begins with (session_id,
 * handler_id, sequence); the `+` keeps the planner from the index by time, which has the rows of every session.
 */
import type { PacketInfo } from '../contracts/report.js';
import { packPackets } from './report-rows.js';
import type { PacketsQuery, SessionPackets } from './store.js';

export interface PacketsStatement {
  readonly sql: string;
  readonly values: readonly number[];
}

/** What `next` is given: the rows of the statement that it gave before. */
export type PacketsSteps = Generator<PacketsStatement, SessionPackets, readonly object[]>;

const NEWEST = 'SELECT max(sequence) AS found FROM packet_info WHERE session_id = ? AND handler_id = ?';
const OLDEST_SINCE = `SELECT sequence AS found FROM packet_info
  WHERE session_id = ? AND handler_id = ? AND sequence >= ? AND +timestamp >= ? ORDER BY sequence LIMIT 1`;
const NEWEST_BELOW = `SELECT timestamp AS found FROM packet_info
  WHERE session_id = ? AND handler_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1`;
const EVENTS = `SELECT timestamp, session_id, handler_id, sequence, event, size FROM packet_info
  WHERE session_id = ? AND handler_id = ? AND sequence >= ? AND +timestamp >= ?`;

export function* packetsSteps(query: PacketsQuery): PacketsSteps {
  const { session_id, handlers, sinks, from = 0, since, sequencesMax } = query;
  const newest = yield* foundOf(NEWEST, session_id, handlers, []);
  const bound = Math.max(0, Math.max(-1, ...newest) - sequencesMax + 1);
  let first = bound;
  let truncated = false;
  if (since !== undefined) {
    const oldest = yield* foundOf(OLDEST_SINCE, session_id, sinks, [bound, Math.max(since, from)]);
    first = Math.min(...oldest, Number.MAX_SAFE_INTEGER);
    const below = yield* foundOf(NEWEST_BELOW, session_id, sinks, [bound]);
    truncated = below.some((timestamp) => timestamp >= since);
  }
  const rows: PacketInfo[] = [];
  for (const handler of handlers) {
    const found = yield { sql: EVENTS, values: [session_id, handler, first, from] };
    for (const row of found) rows.push(row as PacketInfo);
  }
  return { packets: packPackets(rows), truncated };
}

/** The one value per handler, where there is one. */
function* foundOf(
  sql: string,
  session_id: number,
  handlers: readonly number[],
  more: readonly number[],
): Generator<PacketsStatement, number[], readonly object[]> {
  const values: number[] = [];
  for (const handler of handlers) {
    const [row] = yield { sql, values: [session_id, handler, ...more] };
    const found = (row as { found: number | null } | undefined)?.found;
    if (found != null) values.push(found);
  }
  return values;
}
