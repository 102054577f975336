/**
 * Rows on their way to the collector: gathered in memory until they are sealed into reports, and kept (compressed, about
 * a tenth) until the collector has taken them; what it does not take at once is also on disk (`files`), for the next life
 * of the agent. Invariant: at most `rowsMax` rows; beyond it the oldest go, counted.
 * Ledger rows never go, because the account of a session must sum: they come back from a report that has to go, and are
 * put together into fewer that say less of where in a stretch something was dropped.
 * A sealed report never changes: sent again it has the same report_id, and the collector stores it once.
 */
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { accountKey, coarsen, extendRun } from '../contracts/ledger.js';
import type { LedgerRow, Report } from '../contracts/report.js';
import { encodeReport, REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import { JSON_TYPE, type SpoolFiles, type StoredReportFile } from './spool-files.js';

const KINDS = ['sys_info', 'proc_info', 'packet_info', 'profile', 'link_info', 'ledger'] as const;
type Kind = (typeof KINDS)[number];
export type Rows = { readonly [K in Kind]?: readonly NonNullable<Report[K]>[number][] };

/** Two hours of one session's 4 handlers at 30 fps with 2 events a packet; compressed about 15 MiB. */
export const SPOOL_ROWS_MAX = 1_000_000;
/** Rows of one report: with the longest profile keys 10 MB, below REPORT_BODY_BYTES_MAX. */
export const REPORT_ROWS = 20_000;
/** Ledger rows that wait as they came, 2 MB; beyond it, a row per account and cause is what they come down to. */
export const LEDGER_ROWS_FINE = 10_000;
/** Fast rather than small: reports share a core with handlers. */
const GZIP_LEVEL = 1;

export type SealedReport = StoredReportFile;

const compress = promisify(gzip);

export interface ReportSpoolOptions {
  readonly rowsMax?: number;
  /** Null: in memory only. */
  readonly files?: SpoolFiles | null;
}

export class ReportSpool {
  readonly #rowsMax: number;
  readonly #files: SpoolFiles | null;
  readonly #sealed: SealedReport[] = [];
  #open = new Map<Kind, unknown[]>();
  #openRows = 0;
  #ledger: LedgerRow[] = [];
  /** By account, the row that the next may extend. */
  #newest = new Map<string, LedgerRow>();
  #sealedRows = 0;
  #lostRows = 0;

  constructor({ rowsMax = SPOOL_ROWS_MAX, files = null }: ReportSpoolOptions = {}) {
    this.#rowsMax = rowsMax;
    this.#files = files;
  }

  /** Takes up what an earlier life left; that goes first. */
  async load(): Promise<void> {
    const left = (await this.#files?.load()) ?? [];
    this.#sealed.unshift(...left);
    this.#sealedRows += left.reduce((sum, { rows }) => sum + rows, 0);
    this.#makeRoom();
  }

  /** Rows that had to go since this was last asked. */
  takeLostRows(): number {
    const lost = this.#lostRows;
    this.#lostRows = 0;
    return lost;
  }

  get rows(): number {
    return this.#openRows + this.#ledger.length + this.#sealedRows;
  }

  add(rows: Rows, lostRows = 0): void {
    this.#lostRows += lostRows;
    for (const row of rows.ledger ?? []) this.#account(row);
    for (const kind of KINDS) {
      if (kind === 'ledger') continue;
      const given = rows[kind] ?? [];
      if (given.length === 0) continue;
      let list = this.#open.get(kind);
      if (list === undefined) {
        list = [];
        this.#open.set(kind, list);
      }
      for (const row of given) list.push(row);
      this.#openRows += given.length;
    }
    this.#makeRoom();
  }

  /** Makes reports of the gathered rows, by columns for a collector that reads those. */
  async seal(node_id: number | null, columns = false): Promise<void> {
    const open = this.#open;
    this.#open = new Map();
    this.#openRows = 0;
    if (this.#ledger.length > 0) open.set('ledger', this.#ledger);
    this.#setLedger([]);
    for (const [report, rows] of parts(open)) {
      this.#sealedRows += rows;
      const report_id = randomUUID();
      const body = { ...(node_id === null ? {} : { node_id }), report_id, ...report };
      const bytes = await compress(columns ? encodeReport(body) : JSON.stringify(body), { level: GZIP_LEVEL });
      const type = columns ? REPORT_COLUMNS_TYPE : JSON_TYPE;
      const sealed = { report_id, rows, bytes, type, ledger: (report.ledger ?? []) as LedgerRow[] };
      this.#sealed.push(sealed);
    }
    this.#makeRoom();
    // A second one says that the collector is away or behind; one alone is on its way, and a file would outlive it by nothing.
    if (this.#sealed.length > 1) await this.keep();
  }

  /** Has every sealed report on disk, the oldest first. */
  async keep(): Promise<void> {
    for (const report of [...this.#sealed]) {
      if (this.#sealed.includes(report)) await this.#files?.write(report);
    }
  }

  /** The oldest sealed report. */
  peek(): SealedReport | undefined {
    return this.#sealed[0];
  }

  /** It was taken, or refused for good. */
  remove(report: SealedReport): void {
    const index = this.#sealed.indexOf(report);
    if (index < 0) return;
    this.#sealed.splice(index, 1);
    this.#sealedRows -= report.rows;
    void this.#files?.remove(report.report_id);
  }

  #account(row: LedgerRow): void {
    const key = accountKey(row);
    if (extendRun(this.#newest.get(key), row)) return;
    const own = { ...row };
    this.#ledger.push(own);
    this.#newest.set(key, own);
    if (this.#ledger.length > LEDGER_ROWS_FINE) this.#setLedger(coarsen(this.#ledger));
  }

  #setLedger(rows: LedgerRow[]): void {
    this.#ledger = rows;
    this.#newest = new Map();
  }

  #makeRoom(): void {
    while (this.rows > this.#rowsMax) {
      const oldest = this.#sealed[0];
      if (oldest !== undefined) {
        this.remove(oldest);
        this.#lostRows += oldest.rows - oldest.ledger.length;
        if (oldest.ledger.length > 0) this.#setLedger(coarsen([...oldest.ledger, ...this.#ledger]));
        continue;
      }
      const longest = [...this.#open.values()].sort((a, b) => b.length - a.length)[0];
      if (longest === undefined) return;
      const excess = Math.min(longest.length, this.rows - this.#rowsMax);
      longest.splice(0, excess);
      this.#openRows -= excess;
      this.#lostRows += excess;
    }
  }
}

/** At most REPORT_ROWS rows each. */
function* parts(open: ReadonlyMap<Kind, unknown[]>): Generator<[report: Record<string, unknown[]>, rows: number]> {
  let report: Record<string, unknown[]> = {};
  let rows = 0;
  for (const [kind, list] of open) {
    for (let from = 0; from < list.length; ) {
      const take = list.slice(from, from + REPORT_ROWS - rows);
      report[kind] = take;
      rows += take.length;
      from += take.length;
      if (rows < REPORT_ROWS) continue;
      yield [report, rows];
      report = {};
      rows = 0;
    }
  }
  if (rows > 0) yield [report, rows];
}
