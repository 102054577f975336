/**
 * The files of a report spool: one per report that waits, so that what the collector has not taken outlives the agent. The name
 * says what is needed to send it again; a file is whole or not there (written under another name first), and one that
 * cannot be read is put aside and said, never in the way of the others.
 *   000000000042-REPORT_ID.columns.gz
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { REPORT_BODY_BYTES_MAX } from '../contracts/limits.js';
import type { LedgerRow } from '../contracts/report.js';
import { decodeReport, REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import type { Logger } from '../std/logger.js';

const NAME = /^(\d{12})-([\w-]{1,64})\.(json|columns)\.gz$/;
export const JSON_TYPE = 'application/json';

const decompress = promisify(gunzip);

/** A report as it is sent: the same bytes each time. */
export interface StoredReportFile {
  readonly report_id: string;
  readonly rows: number;
  /** Compressed. */
  readonly bytes: Buffer;
  readonly type: string;
  /** Its ledger rows, for when it has to make room. */
  readonly ledger: readonly LedgerRow[];
}

export class SpoolFiles {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #names = new Map<string, string>();
  #next = 1;
  #failing = false;

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#logger = logger;
  }

  /** What an earlier life of the agent left, oldest first. */
  async load(): Promise<StoredReportFile[]> {
    await mkdir(this.#directory, { recursive: true });
    const found: StoredReportFile[] = [];
    for (const name of (await readdir(this.#directory)).sort()) {
      const [, number, report_id, kind] = NAME.exec(name) ?? [];
      if (report_id === undefined) continue;
      this.#next = Math.max(this.#next, Number(number) + 1);
      try {
        const bytes = await readFile(join(this.#directory, name));
        found.push({ report_id, ...(await contentOf(bytes, kind === 'columns')) });
        this.#names.set(report_id, name);
      } catch (error) {
        this.#logger.error({ file: name, err: error }, 'an unsent report cannot be read and is put aside');
        await rename(join(this.#directory, name), join(this.#directory, `${name}.unreadable`)).catch(() => {});
      }
    }
    return found;
  }

  /** Once for each report. A disk that is full costs the copy for the next life, not the report: that is in memory. */
  async write({ report_id, type, bytes }: StoredReportFile): Promise<void> {
    if (this.#names.has(report_id)) return;
    const number = String(this.#next++).padStart(12, '0');
    const name = `${number}-${report_id}.${type === REPORT_COLUMNS_TYPE ? 'columns' : 'json'}.gz`;
    const path = join(this.#directory, name);
    this.#names.set(report_id, name);
    try {
      await writeFile(`${path}.new`, bytes);
      await rename(`${path}.new`, path);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing)
        this.#logger.warn({ err: error }, 'unsent reports cannot be kept on disk; they are in memory');
      this.#failing = true;
      await rm(`${path}.new`, { force: true }).catch(() => {});
    }
  }

  /** If it stays there all the same, it is sent once more in the next life, and the collector knows it by its report_id. */
  async remove(report_id: string): Promise<void> {
    const name = this.#names.get(report_id);
    this.#names.delete(report_id);
    if (name !== undefined) await rm(join(this.#directory, name), { force: true }).catch(() => {});
  }
}

async function contentOf(bytes: Buffer, columns: boolean): Promise<Omit<StoredReportFile, 'report_id'>> {
  const body = await decompress(bytes, { maxOutputLength: REPORT_BODY_BYTES_MAX });
  const report = (columns ? decodeReport(body) : JSON.parse(body.toString())) as Record<string, unknown>;
  const lists = Object.values(report).filter((value) => Array.isArray(value));
  return {
    rows: lists.reduce((sum, list) => sum + list.length, 0),
    bytes,
    type: columns ? REPORT_COLUMNS_TYPE : JSON_TYPE,
    ledger: (report.ledger ?? []) as LedgerRow[],
  };
}
