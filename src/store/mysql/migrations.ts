/**
 * The schema as an ordered list of steps; a step that was released is never changed, a change is a new step. One process
 * at a time migrates (a named lock of the server). MySQL has no transactions around DDL, so every step may be run again
 * after it was cut off half-way: it looks at what is there and brings it to what it should be.
 * The first step also takes over a schema that the reference made: its rows stay, its keys (timestamp, session, handler,
 * sequence), which collide when two events of a packet fall on one tick, give way to a number per row. That column is
 * invisible: `select *` shows what it always did.
 */
import type { Connection } from 'mysql2/promise';
import { OrchestratorError } from '../../contracts/errors.js';
import type { Logger } from '../../std/logger.js';
import { rollupTablesSql } from '../rollups.js';
import { type Flavour, quoteName } from './flavour.js';

/** A table as it should be; the columns in their order. */
interface TableShape {
  readonly name: string;
  readonly columns: Readonly<Record<string, string>>;
  /** Name of an index -> its columns. */
  readonly indexes: Readonly<Record<string, string>>;
}

/** Bytes compare as they are: 'a', 'A' and 'a ' are three keys. */
const EXACT: Record<Flavour, string> = {
  mariadb: 'CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin',
  mysql: 'CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin',
};

const exactText = (flavour: Flavour, characters: number): string => `VARCHAR(${characters}) ${EXACT[flavour]}`;

/** The reference's columns and types; sequence and size are wider: 25 days at 1000 fps would end INT. */
const REFERENCE_TABLES: readonly TableShape[] = [
  {
    name: 'sys_info',
    columns: {
      ...{
        timestamp: 'DOUBLE NOT NULL',
        node_id: 'INT NOT NULL',
        cpu_util: 'FLOAT',
        mem_total: 'INT',
        mem_util: 'FLOAT',
      },
      ...{ gpu_util: 'INT', gpu_mem_util: 'INT', gpu_clock: 'INT', gpu_power: 'INT' },
    },
    indexes: { sys_info_time: 'timestamp' },
  },
  {
    name: 'proc_info',
    columns: {
      ...{ timestamp: 'DOUBLE NOT NULL', session_id: 'INT NOT NULL', handler_id: 'INT NOT NULL', cpu_util: 'FLOAT' },
      ...{ mem_util: 'FLOAT', gpu_util: 'INT', gpu_mem_util: 'INT' },
    },
    indexes: { proc_info_time: 'timestamp', proc_info_handler: 'session_id, handler_id, timestamp' },
  },
  {
    name: 'packet_info',
    columns: {
      ...{ timestamp: 'DOUBLE NOT NULL', session_id: 'INT NOT NULL', handler_id: 'INT NOT NULL' },
      ...{ sequence: 'BIGINT NOT NULL', event: 'VARCHAR(255) NOT NULL', size: 'BIGINT' },
    },
    indexes: { packet_info_time: 'timestamp', packet_info_packet: 'session_id, handler_id, sequence' },
  },
];

const telemetryTables = (flavour: Flavour): readonly TableShape[] => [
  ...REFERENCE_TABLES,
  {
    name: 'gpu_info',
    columns: {
      ...{ timestamp: 'DOUBLE NOT NULL', node_id: 'INT NOT NULL', session_id: 'INT', handler_id: 'INT' },
      ...{ gpu_id: 'INT NOT NULL', gpu_util: 'INT', gpu_mem_util: 'INT', gpu_clock: 'INT', gpu_power: 'INT' },
    },
    indexes: { gpu_info_time: 'timestamp' },
  },
  {
    name: 'profile',
    columns: {
      ...{
        timestamp: 'DOUBLE NOT NULL',
        node_id: 'INT NOT NULL',
        session_id: 'INT NOT NULL',
        handler_id: 'INT NOT NULL',
      },
      ...{ handler_type: 'INT NOT NULL', profile_key: `${exactText(flavour, 256)} NOT NULL`, packets: 'INT NOT NULL' },
      ...{ service_ms: 'DOUBLE NOT NULL', service_ms_p95: 'DOUBLE NOT NULL', queue_ms: 'DOUBLE NOT NULL' },
      ...{ cpu_ms: 'DOUBLE NOT NULL', out_bytes: 'DOUBLE NOT NULL' },
    },
    indexes: { profile_time: 'timestamp' },
  },
  {
    name: 'link_info',
    columns: {
      ...{ timestamp: 'DOUBLE NOT NULL', session_id: 'INT NOT NULL', source_handler: 'INT NOT NULL' },
      ...{ target_handler: 'INT NOT NULL', source_node: 'INT NOT NULL', target_node: 'INT NOT NULL' },
      ...{ packets: 'BIGINT NOT NULL', bytes: 'BIGINT NOT NULL', latency_ms: 'DOUBLE' },
      ...{ rtt_ms: 'DOUBLE', mbit_per_s: 'DOUBLE' },
    },
    indexes: { link_info_time: 'timestamp' },
  },
  {
    name: 'ledger',
    columns: {
      ...{
        timestamp: 'DOUBLE NOT NULL',
        session_id: 'INT NOT NULL',
        handler_id: 'INT NOT NULL',
        node_id: 'INT NOT NULL',
      },
      ...{ incarnation: 'BIGINT NOT NULL', fate: 'VARCHAR(16) NOT NULL', at_handler: 'INT' },
      ...{ first_sequence: 'BIGINT NOT NULL', last_sequence: 'BIGINT NOT NULL', packets: 'BIGINT NOT NULL' },
    },
    indexes: { ledger_time: 'timestamp', ledger_account: 'session_id, handler_id, first_sequence' },
  },
  {
    name: 'report',
    columns: {
      ...{ received_at: 'DOUBLE NOT NULL', node_id: 'INT NOT NULL', report_id: `${exactText(flavour, 64)} NOT NULL` },
      rows: 'INT NOT NULL',
    },
    indexes: { report_time: 'received_at', 'UNIQUE report_once': 'node_id, report_id' },
  },
];

const stateStatements = (flavour: Flavour): readonly string[] => [
  `CREATE TABLE IF NOT EXISTS meta (\`key\` ${exactText(flavour, 64)} PRIMARY KEY, value BIGINT NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS node (
    node_id INT PRIMARY KEY, node_name TEXT NOT NULL, last_seen DOUBLE NOT NULL, facts LONGTEXT)`,
  `CREATE TABLE IF NOT EXISTS session (
    session_id INT PRIMARY KEY, service_name TEXT NOT NULL, desired VARCHAR(16) NOT NULL, generation BIGINT NOT NULL,
    created_at DOUBLE NOT NULL, ended_at DOUBLE, ended_state VARCHAR(16), ended_reason TEXT,
    request LONGTEXT NOT NULL, plan LONGTEXT NOT NULL, KEY session_ended (ended_at))`,
  `CREATE TABLE IF NOT EXISTS placement (
    session_id INT NOT NULL, generation BIGINT NOT NULL, handler_id INT NOT NULL, handler_name TEXT NOT NULL,
    handler_type INT NOT NULL, node_id INT NOT NULL, alternative TEXT NOT NULL, PRIMARY KEY (session_id, handler_id))`,
  `CREATE TABLE IF NOT EXISTS event (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY,
    timestamp DOUBLE NOT NULL, kind VARCHAR(64) NOT NULL, node_id INT, session_id INT, handler_id INT,
    message TEXT NOT NULL, KEY event_time (timestamp), KEY event_session (session_id))`,
];

/**
 * A row of rollup_progress that writers hold shared until they commit: who holds it alone knows that no row number below
 * the highest is still to come.
 */
export const WRITERS = 'writers';

type Step = (connection: Connection, flavour: Flavour) => Promise<void>;

async function telemetryStep(connection: Connection, flavour: Flavour): Promise<void> {
  for (const shape of telemetryTables(flavour)) await ensureTable(connection, shape);
}

async function stateStep(connection: Connection, flavour: Flavour): Promise<void> {
  for (const sql of stateStatements(flavour)) await connection.query(`${sql} ENGINE = InnoDB CHARACTER SET utf8mb4`);
}

/** A probe between nodes has no session and no handlers. */
async function probesStep(connection: Connection): Promise<void> {
  const ends = ['session_id', 'source_handler', 'target_handler'];
  await connection.query(`ALTER TABLE link_info ${ends.map((column) => `MODIFY COLUMN ${column} INT`).join(', ')}`);
}

async function rollupsStep(connection: Connection, flavour: Flavour): Promise<void> {
  const types: Record<string, string> = {
    ...{ event: 'VARCHAR(255)', fate: 'VARCHAR(16)', source: 'VARCHAR(64)', profile_key: exactText(flavour, 256) },
  };
  const statements = rollupTablesSql({
    ...{ number: 'BIGINT', figure: 'DOUBLE', text: (column) => types[column]! },
    end: 'ENGINE = InnoDB CHARACTER SET utf8mb4',
  });
  for (const sql of statements) await connection.query(sql);
  await connection.query('INSERT IGNORE INTO rollup_progress VALUES (?, 0)', [WRITERS]);
}

/** One row for ever; nobody holds it at first. */
async function leaseStep(connection: Connection, flavour: Flavour): Promise<void> {
  await connection.query(
    `CREATE TABLE IF NOT EXISTS lease (name VARCHAR(32) PRIMARY KEY, holder ${exactText(flavour, 64)} NOT NULL,
      url VARCHAR(512) NOT NULL, ends_at DOUBLE NOT NULL) ENGINE = InnoDB CHARACTER SET utf8mb4`,
  );
  await connection.query("INSERT IGNORE INTO lease VALUES ('coordinator', '', '', 0)");
}

async function drainsStep(connection: Connection): Promise<void> {
  await connection.query(
    'CREATE TABLE IF NOT EXISTS drained_node (node_id INT PRIMARY KEY, since DOUBLE NOT NULL) ENGINE = InnoDB',
  );
}

/** A step that was interrupted may have made it. */
async function profileThreadsStep(connection: Connection): Promise<void> {
  if ((await columnsOf(connection, 'profile')).includes('threads')) return;
  await connection.query('ALTER TABLE profile ADD COLUMN threads INT');
}

/** Version n of the schema is the first n steps. */
export const MYSQL_MIGRATIONS: readonly Step[] = [
  ...[telemetryStep, stateStep, probesStep, rollupsStep, leaseStep, drainsStep, profileThreadsStep],
];

/** How long a start waits for another process that migrates, s: changing the reference's tables copies their rows. */
const LOCK_TIMEOUT_S = 600;

export interface MigrateOptions {
  readonly schema: string;
  readonly logger?: Logger;
  readonly steps?: readonly Step[];
}

/** Brings the schema to the newest version; DATABASE_UNAVAILABLE when a newer program has already gone further. */
export async function migrate(
  connection: Connection,
  flavour: Flavour,
  { schema, logger, steps = MYSQL_MIGRATIONS }: MigrateOptions,
): Promise<void> {
  if ((await schemaVersion(connection, steps)) === steps.length) return;
  const lock = `orchestrator.${schema}`.slice(0, 64);
  const [[answer]] = (await connection.query('SELECT GET_LOCK(?, ?) AS got', [lock, LOCK_TIMEOUT_S])) as [
    { got: number }[],
    unknown,
  ];
  if (answer?.got !== 1) {
    const message = `another process has been changing schema ${schema} for ${LOCK_TIMEOUT_S} s; try again later`;
    throw new OrchestratorError('DATABASE_UNAVAILABLE', message);
  }
  try {
    await connection.query(
      'CREATE TABLE IF NOT EXISTS schema_version (version INT PRIMARY KEY, applied_at VARCHAR(32) NOT NULL) ENGINE = InnoDB',
    );
    const version = await schemaVersion(connection, steps);
    for (const [at, step] of steps.entries()) {
      if (at < version) continue;
      await step(connection, flavour);
      await connection.query('INSERT INTO schema_version VALUES (?, utc_timestamp())', [at + 1]);
      logger?.info({ schema, version: at + 1 }, 'database schema brought to its next version');
    }
  } finally {
    await connection.query('SELECT RELEASE_LOCK(?)', [lock]);
  }
}

/** 0 for a schema that no migration has seen, the reference's included. */
export async function schemaVersion(
  connection: Connection,
  steps: readonly Step[] = MYSQL_MIGRATIONS,
): Promise<number> {
  if ((await columnsOf(connection, 'schema_version')).length === 0) return 0;
  const [[row]] = (await connection.query('SELECT coalesce(max(version), 0) AS version FROM schema_version')) as [
    { version: number }[],
    unknown,
  ];
  const version = row?.version ?? 0;
  if (version > steps.length) {
    const message = `its schema has version ${version}, this program knows up to ${steps.length}: a newer program made it`;
    throw new OrchestratorError('DATABASE_UNAVAILABLE', message, { version, known: steps.length });
  }
  return version;
}

async function columnsOf(connection: Connection, table: string): Promise<string[]> {
  const [rows] = await connection.query(
    'SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?',
    [table],
  );
  return (rows as { name: string }[]).map(({ name }) => name);
}

async function indexesOf(connection: Connection, table: string): Promise<Set<string>> {
  const [rows] = await connection.query(
    'SELECT DISTINCT index_name AS name FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ?',
    [table],
  );
  return new Set((rows as { name: string }[]).map(({ name }) => name));
}

/** A number that no two rows share. */
const ID = 'BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE';

/** Makes the table, or changes the one that is there in a single statement, which copies its rows once. */
async function ensureTable(connection: Connection, { name, columns, indexes }: TableShape): Promise<void> {
  const there = await columnsOf(connection, name);
  const wanted = Object.entries(columns);
  const keys = Object.entries(indexes).map(([index, on]) => {
    const unique = index.startsWith('UNIQUE ');
    return {
      name: index.replace('UNIQUE ', ''),
      sql: `${unique ? 'UNIQUE ' : ''}KEY ${index.replace('UNIQUE ', '')} (${on})`,
    };
  });
  if (there.length === 0) {
    const parts = [...wanted.map(([column, type]) => `${quoteName(column)} ${type}`), `id ${ID} PRIMARY KEY`];
    await connection.query(
      `CREATE TABLE ${name} (${[...parts, ...keys.map(({ sql }) => sql)].join(', ')}) ENGINE = InnoDB CHARACTER SET utf8mb4`,
    );
    return;
  }
  if (there.includes('id')) return;
  const existing = await indexesOf(connection, name);
  const changes = wanted.map(([column, type], index) => {
    const old = there.find((one) => one.toLowerCase() === column);
    const place = index === 0 ? 'FIRST' : `AFTER ${quoteName(wanted[index - 1]![0])}`;
    const change = old === undefined ? 'ADD COLUMN' : `CHANGE COLUMN ${quoteName(old)}`;
    return `${change} ${quoteName(column)} ${type} ${place}`;
  });
  await connection.query(
    `ALTER TABLE ${name} ${[
      ...(existing.has('PRIMARY') ? ['DROP PRIMARY KEY'] : []),
      ...changes,
      `ADD COLUMN id ${ID} PRIMARY KEY`,
      ...keys.filter((key) => !existing.has(key.name)).map(({ sql }) => `ADD ${sql}`),
      'ENGINE = InnoDB',
    ].join(', ')}`,
  );
}
