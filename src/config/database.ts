/** The `[database]` section as an address: `db_path` is an SQLite file, else `db_addr` a MySQL or MariaDB server. */

import { resolve } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { databasePasswordFromEnvironment, expandHome } from './environment.js';
import type { CollectorFile } from './sections.js';
import { readText } from './settings.js';

export type DatabaseConfig =
  | { readonly engine: 'sqlite'; readonly path: string }
  | {
      readonly engine: 'mysql';
      readonly host: string;
      readonly port: number;
      readonly user: string;
      /** Nothing prints it. */
      readonly password: string;
      readonly schema: string;
      /** PEM; absent: not encrypted. */
      readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
    };

export const DEFAULT_DATABASE = 'var/orchestrator.db';

type DatabaseSection = CollectorFile['database'];

export function databaseOf(section: DatabaseSection): DatabaseConfig {
  const { db_path, db_addr, db_port, db_user, db_schema } = section;
  if (db_path !== undefined || db_addr === undefined) {
    return { engine: 'sqlite', path: resolve(expandHome(db_path ?? DEFAULT_DATABASE)) };
  }
  const server = { host: db_addr, port: db_port, user: db_user ?? '', schema: db_schema };
  const { db_tls_ca: ca, db_tls_cert: cert, db_tls_key: key } = section;
  return {
    ...{ engine: 'mysql', ...server, password: passwordOf(section) },
    ...(ca !== undefined && {
      tls: { ca: pem(ca), ...(cert !== undefined && key !== undefined && { cert: pem(cert), key: pem(key) }) },
    }),
  };
}

const pem = (file: string): string => readText(resolve(expandHome(file)));

export function databaseRule(section: DatabaseSection, file: string): OrchestratorError[] {
  const problem = (key: string, message: string) =>
    new OrchestratorError('CONFIG_INVALID', `${file}: [database] ${message}`, { file, section: 'database', key });
  const { db_path, db_addr, db_user, db_passwd, db_passwd_file } = section;
  const usesServer = db_addr !== undefined && db_path === undefined;
  return [
    ...(usesServer && db_user === undefined ? [problem('db_user', `db_addr = ${db_addr} needs db_user`)] : []),
    ...(db_passwd !== undefined && db_passwd_file !== undefined
      ? [problem('db_passwd', 'has both db_passwd and db_passwd_file; keep one')]
      : []),
    ...tlsProblems(section).map(([has, lacks]) => problem(lacks, `${has} is given without ${lacks}`)),
  ];
}

function tlsProblems({ db_tls_ca, db_tls_cert, db_tls_key }: DatabaseSection): [has: string, lacks: string][] {
  return [
    ...(db_tls_cert !== undefined && db_tls_key === undefined ? [pair('db_tls_cert', 'db_tls_key')] : []),
    ...(db_tls_key !== undefined && db_tls_cert === undefined ? [pair('db_tls_key', 'db_tls_cert')] : []),
    ...(db_tls_cert !== undefined && db_tls_ca === undefined ? [pair('db_tls_cert', 'db_tls_ca')] : []),
  ];
}

const pair = (has: string, lacks: string): [string, string] => [has, lacks];

function passwordOf({ db_passwd, db_passwd_file }: DatabaseSection): string {
  const fromEnvironment = databasePasswordFromEnvironment();
  if (fromEnvironment !== null) return fromEnvironment;
  if (db_passwd_file === undefined) return db_passwd ?? '';
  return readText(resolve(expandHome(db_passwd_file))).split(/\r?\n/)[0]!;
}
