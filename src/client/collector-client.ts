/** Client of the collector: reports in, figures out. */
import type { Profile } from '../contracts/plan.js';
import type { Report } from '../contracts/report.js';
import type { Series, SeriesQuery } from '../contracts/series.js';
import type { Health } from './answers.js';
import { createHttpClient } from './http.js';

export interface CollectorClientOptions {
  readonly url: string;
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  readonly timeoutMs?: number;
}

/** Time that a query may take, ms: a scan over a day of packet_info takes seconds. */
export const SQL_TIMEOUT_MS = 60_000;

export interface SqlAnswer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

export interface EncodedReport {
  readonly bytes: Buffer;
  /** Content type; JSON when absent. */
  readonly type?: string;
  /** Compressed. */
  readonly gzip: boolean;
}

/** What `GET /v1/health` of a collector tells a reporter. */
export interface CollectorHealth extends Health {
  /** Content types of reports that it reads; absent: JSON. */
  readonly report_types?: readonly string[];
}

export interface CollectorClient {
  readonly url: string;
  /** `POST /`: one report, or the bytes of one as a spool kept them. */
  report(report: Report | EncodedReport): Promise<void>;
  /** A single read-only statement; throws SQL_REFUSED. */
  sql(statement: string): Promise<SqlAnswer>;
  profiles(): Promise<Profile[]>;
  series(query: SeriesQuery): Promise<Series>;
  health(): Promise<CollectorHealth>;
  close(): Promise<void>;
}

export function createCollectorClient(options: CollectorClientOptions): CollectorClient {
  const http = createHttpClient({ ...options, unreachable: 'SERVICE_UNREACHABLE', peer: 'collector' });
  return {
    url: http.url,
    async report(report) {
      if (!('bytes' in report)) {
        await http.request('POST', '/', { json: report });
        return;
      }
      const headers = {
        'content-type': report.type ?? 'application/json',
        ...(report.gzip ? { 'content-encoding': 'gzip' } : {}),
      };
      await http.request('POST', '/', { body: report.bytes, headers });
    },
    sql: async (statement) =>
      (await http.request('POST', '/v1/sql', { json: { statement }, timeoutMs: SQL_TIMEOUT_MS })) as SqlAnswer,
    series: async (query) => (await http.request('GET', '/v1/series', { query: { ...query } })) as Series,
    profiles: async () => (await http.request('GET', '/v1/profiles')) as Profile[],
    health: async () => (await http.request('GET', '/v1/health')) as CollectorHealth,
    close: () => http.close(),
  };
}
