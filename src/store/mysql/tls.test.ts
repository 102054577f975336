/** Encrypted connections to a real server: asked for, they are encrypted or there are none. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reportInput } from '../conformance.testing.js';
import { withConnection } from './connection.js';
import { hasMariadb, startMariadb, type TestServer } from './mariadb.testing.js';
import { openMysqlTelemetryStore } from './mysql-telemetry-store.js';

describe.runIf(hasMariadb())('TLS to MariaDB', () => {
  let dir: string;
  let server: TestServer;
  const pem = (name: string) => readFileSync(join(dir, name), 'utf8');
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'database-tls-'));
    for (const name of ['server', 'other']) makeCertificate(name, 'localhost');
    makeCertificate('elsewhere', 'database.example');
    server = await startMariadb(certificate('server'));
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const certificate = (name: string) => [
    `--ssl-cert=${join(dir, `${name}.pem`)}`,
    `--ssl-key=${join(dir, `${name}.key`)}`,
  ];
  function makeCertificate(name: string, host: string): void {
    const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.pem`)];
    const what = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...files, ...what], {
      stdio: 'ignore',
    });
  }
  const cipher = (options: Parameters<typeof withConnection>[0]) =>
    withConnection(options, async (connection) => {
      const [rows] = await connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
      return (rows as { Value: string }[])[0]!.Value;
    });

  test('the connections of a store are encrypted', async () => {
    const options = { ...server.options('reports'), tls: { ca: pem('server.pem') } };
    expect(await cipher(server.options('reports'))).toBe('');
    expect(await cipher(options)).toMatch(/^TLS_|AES|CHACHA/);
    await withConnection(server.options('reports'), (connection) =>
      connection.query("ALTER USER 'tester'@'127.0.0.1' REQUIRE SSL"),
    );
    await expect(cipher(server.options('reports'))).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    const store = await openMysqlTelemetryStore(options);
    expect(await store.storeReports([reportInput({ sys_info: [{ timestamp: 1 }] }, 1, 1)])).toMatchObject([
      { stored: true },
    ]);
    expect((await store.sql('select count(*) from sys_info')).rows).toEqual([[1]]);
    await store.close();
  });

  test('a certificate of somebody else is refused', async () => {
    const options = server.options('reports');
    const other = cipher({ ...options, tls: { ca: pem('other.pem') } });
    await expect(other).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await expect(other).rejects.toThrow(/self.signed|certificate/);
  });

  test('a host name must be that of the certificate; of an address the signature counts', async () => {
    const tls = { ca: pem('server.pem') };
    expect(await cipher({ ...server.options('reports'), tls, host: 'localhost' })).not.toBe('');
    const elsewhere = await startMariadb(certificate('elsewhere'));
    try {
      const options = { ...elsewhere.options('reports'), tls: { ca: pem('elsewhere.pem') } };
      expect(await cipher(options)).not.toBe('');
      const named = cipher({ ...options, host: 'localhost' });
      await expect(named).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      await expect(named).rejects.toThrow(/localhost.*database\.example|does not match/);
    } finally {
      await elsewhere.stop();
    }
  });

  test('a server without TLS is refused, and not used without it', async () => {
    const plain = await startMariadb(['--skip-ssl']);
    try {
      const options = { ...plain.options('reports'), tls: { ca: pem('server.pem') } };
      await expect(cipher(options)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    } finally {
      await plain.stop();
    }
  });
});
