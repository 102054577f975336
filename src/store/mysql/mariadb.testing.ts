/**
 * A MariaDB server for tests: a data directory of its own under the temporary directory, a Unix socket and a loopback
 * port, gone at the end however the test ends. Needs `mariadbd` on PATH; without it tests say so and go on with SQLite,
 * except under CI, where a server is a must.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../../std/logger.js';
import { type MysqlStoreOptions, withConnection } from './connection.js';

export interface TestServer {
  readonly port: number;
  readonly socket: string;
  /** How a store reaches the schema of that name by the loopback port. */
  options(schema: string): MysqlStoreOptions;
  /** As a power cut of the process; `start` brings it back with its data. */
  kill(): Promise<void>;
  /** To the server itself: SIGSTOP, SIGCONT. */
  signal(name: NodeJS.Signals): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** False: no server here, and the tests that need one cannot run. Throws under CI. */
export function hasMariadb(): boolean {
  const found = spawnSync('mariadbd', ['--version']).status === 0;
  if (!found && process.env.CI === 'true') throw new Error('mariadbd is not on PATH; under CI its tests are a must');
  if (!found)
    process.stderr.write('mariadbd is not on PATH: its tests do not run here, the same suite runs on SQLite\n');
  return found;
}

const PASSWORD = 'it is "secret" \\ \'quoted\'';
const START_MS_MAX = 30_000;

export async function startMariadb(extra: readonly string[] = []): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), 'mariadb-test-'));
  const [data, socket] = [join(directory, 'data'), join(directory, 's')];
  const port = await freePort();
  const user = `--user=${userInfo().username}`;
  execFileSync(
    'mariadb-install-db',
    [...['--no-defaults', user, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db']],
    { stdio: 'ignore' },
  );
  const root = { host: socket, port, user: 'root', password: '', schema: 'reports', logger: silentLogger };
  let server: ChildProcess | null = null;
  let pid = 0;

  const start = async () => {
    const args = [
      ...[
        '--no-defaults',
        user,
        `--datadir=${data}`,
        `--socket=${socket}`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
      ],
      ...['--innodb-log-file-size=64M', '--innodb-buffer-pool-size=128M', '--skip-name-resolve'],
      // A killed process has written what it committed; only a machine without power would not have.
      ...['--innodb-flush-log-at-trx-commit=2', '--innodb-doublewrite=0', ...extra],
    ];
    // The shell ends the server when this process is gone: its stdin ends then.
    const script = 'mariadbd "$@" 2>/dev/null & pid=$!; echo $pid; cat >/dev/null; kill -9 $pid';
    const child = spawn('sh', ['-c', script, 'sh', ...args], { stdio: ['pipe', 'pipe', 'ignore'] });
    server = child;
    child.stdout.once('data', (line: Buffer) => {
      pid = Number(line.toString());
    });
    await answering(root);
  };
  const kill = async () => {
    const child = server;
    server = null;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.stdin?.end();
    await ended;
  };
  await start();
  await withConnection(root, async (connection) => {
    await connection.query("CREATE USER 'tester'@'127.0.0.1' IDENTIFIED BY ?", [PASSWORD]);
    await connection.query("GRANT ALL ON *.* TO 'tester'@'127.0.0.1'");
  });
  return {
    port,
    socket,
    options: (schema) => ({
      host: '127.0.0.1',
      port,
      user: 'tester',
      password: PASSWORD,
      schema,
      logger: silentLogger,
    }),
    kill,
    signal: (name) => process.kill(pid, name),
    start,
    stop: async () => {
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function answering(root: MysqlStoreOptions): Promise<void> {
  const deadline = performance.now() + START_MS_MAX;
  for (;;) {
    try {
      return await withConnection(root, async () => {});
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
