/**
 * Rows for the collector, gathered in the host and handed to the agent every REPORT_FLUSH_MS. Invariant: never more than
 * HOST_REPORT_ROWS_MAX wait; what does not fit is counted, so that a report says how much it lacks.
 */
import type { LinkInfo, PacketEventName, PacketInfo, ProfileSample } from '../contracts/report.js';
import type { Clock } from '../std/clock.js';
import { type FromHost, HOST_REPORT_ROWS_MAX } from './host-protocol.js';

export type HostReport = Extract<FromHost, { type: 'report' }>;

export class Telemetry {
  readonly #sessionId: number;
  readonly #clock: Clock;
  readonly #rowsMax: number;
  #rows: PacketInfo[] = [];
  #lost = 0;

  constructor(options: { session_id: number; clock: Clock; rowsMax?: number }) {
    this.#sessionId = options.session_id;
    this.#clock = options.clock;
    this.#rowsMax = options.rowsMax ?? HOST_REPORT_ROWS_MAX;
  }

  /** `size`: bytes on the wire of `sent` and `recv`, null by reference; left out otherwise. */
  event(handler_id: number, sequence: number, event: PacketEventName, size?: number | null): void {
    if (this.#rows.length >= this.#rowsMax) {
      this.#lost += 1;
      return;
    }
    const [timestamp, session_id] = [this.#clock.now(), this.#sessionId];
    if (size === undefined) this.#rows.push({ timestamp, session_id, handler_id, sequence, event });
    else this.#rows.push({ timestamp, session_id, handler_id, sequence, event, size });
  }

  /** What was gathered since the last call; null when there is nothing to say. */
  flush(profile: readonly ProfileSample[], link_info: readonly LinkInfo[]): HostReport | null {
    const packet_info = this.#rows;
    const lost_rows = this.#lost;
    this.#rows = [];
    this.#lost = 0;
    if (packet_info.length + profile.length + link_info.length + lost_rows === 0) return null;
    return { type: 'report', packet_info, profile, link_info, lost_rows };
  }
}
