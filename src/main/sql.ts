/** One read-only statement, from the database itself (no daemon needed) or by a running collector. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createCollectorClient } from '../client/index.js';
import { knownClusters } from '../config/cluster-file.js';
import { type DatabaseConfig, DEFAULT_DATABASE } from '../config/database.js';
import { loadDatabaseConfig } from '../config/processes.js';
import { OrchestratorError } from '../contracts/errors.js';
import { describeDatabase, openQueries } from './database.js';

export interface SqlOptions {
  readonly statement: string;
  /** SQLite file; the newest of the known ones when absent. */
  readonly database?: string;
  /** Configuration file of a coordinator or collector: its database. */
  readonly config?: string;
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
  const database = databaseFor(options);
  options.onSource(describeDatabase(database));
  const queries = await openQueries(database);
  try {
    return await queries.run(statement);
  } finally {
    queries.close();
  }
}

/** The database to read; a file is there. */
export function databaseFor({ config, database }: { config?: string | undefined; database?: string | undefined }) {
  const found: DatabaseConfig =
    config === undefined
      ? { engine: 'sqlite', path: resolve(database ?? newestDatabase()) }
      : loadDatabaseConfig(config);
  if (found.engine === 'mysql' || existsSync(found.path)) return found;
  throw new OrchestratorError('DATABASE_UNAVAILABLE', `${found.path}: no such file`, { path: found.path });
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
