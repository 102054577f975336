/**
 * What engines of SQL ask of the ledger; ledger-accounts.ts makes accounts of the answers. The `+` keeps the planner from
 * the index by time, which has the rows of every session.
 */

export const LEDGER_SQL = {
  /** session_id, from */
  sources: `SELECT handler_id, min(first_sequence) AS first, max(last_sequence) + 1 AS next FROM ledger
    WHERE session_id = ? AND +timestamp >= ? AND fate = 'emitted' GROUP BY handler_id ORDER BY handler_id`,
  /** session_id, from, since */
  decided: `SELECT handler_id, max(last_sequence) + 1 AS next FROM ledger
    WHERE session_id = ? AND +timestamp >= ? AND fate <> 'emitted' AND +timestamp < ? GROUP BY handler_id`,
  /** session_id, from, since */
  rows: `SELECT handler_id, node_id, incarnation, fate, at_handler, first_sequence, last_sequence, packets FROM ledger
    WHERE session_id = ? AND +timestamp >= ? AND fate <> 'emitted' AND (+timestamp >= ? OR fate = 'settled')
    ORDER BY handler_id, first_sequence, last_sequence, incarnation, node_id`,
} as const;
