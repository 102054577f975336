/** One read-only statement, from the database file itself (no daemon needed) or by a running collector. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createCollectorClient } from '../client/index.js';
import { knownClusters } from '../config/cluster-file.js';
import { OrchestratorError } from '../contracts/errors.js';
import { SqliteQueries } from '../store/sqlite/queries.js';
import { SQL_TIME_MS_MAX } from '../store/store.js';

export interface SqlOptions {
  readonly statement: string;
  /** SQLite file; the newest of the known ones when absent. */
  readonly database?: string;
  /** Address of a collector: it is asked instead of a file. */
  readonly collector?: string;
  readonly token: string | null;
  /** Told what is read. */
  onSource(description: string): void;
}

export interface SqlTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  readonly truncated?: boolean;
}

const DEFAULT_DATABASE = 'var/orchestrator.db';

export async function runSql(options: SqlOptions): Promise<SqlTable> {
  const { statement, collector, token } = options;
  if (collector !== undefined) {
    const client = createCollectorClient({ url: collector, token });
    options.onSource(collector);
    try {
      return await client.sql(statement);
    } finally {
      await client.close();
    }
  }
  const path = resolve(options.database ?? newestDatabase());
  if (!existsSync(path)) throw new OrchestratorError('DATABASE_UNAVAILABLE', `${path}: no such file`, { path });
  options.onSource(path);
  const queries = new SqliteQueries({ path, timeMsMax: SQL_TIME_MS_MAX });
  try {
    return await queries.run(statement);
  } finally {
    queries.close();
  }
}

/** Of the last `demo` or `up` that was started here, else the one of the sample configuration. */
function newestDatabase(): string {
  const files = [...knownClusters().map((cluster) => cluster.database), DEFAULT_DATABASE];
  const found = files.find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new OrchestratorError(
    'DATABASE_UNAVAILABLE',
    `no database is here (looked for ${files.join(', ')}); run \`demo\` or \`up\` first, or say --database FILE`,
  );
}
