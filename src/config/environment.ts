/** The environment variables that the product reads; nobody else touches process.env. */
import { homedir } from 'node:os';
import { join } from 'node:path';

const given = (name: string): string | null => process.env[name]?.trim() || null;

/** Bearer token of daemons and clients; wins over `[security]`. */
export const tokenFromEnvironment = (): string | null => given('ORCHESTRATOR_TOKEN');

/** Password of the database server; wins over `[database]`. */
export const databasePasswordFromEnvironment = (): string | null => given('ORCHESTRATOR_DB_PASSWD');

/** Address of the coordinator for the command line. */
export const coordinatorFromEnvironment = (): string | null => given('ORCHESTRATOR_URL');

/** PEM file with the certificates that https peers of this process must be signed by. */
export const tlsCaFileFromEnvironment = (): string | null => given('ORCHESTRATOR_TLS_CA');

/** Where converted models are kept: under XDG_CACHE_HOME, else ~/.cache; the default of [models] cache_path. */
export function defaultCacheDir(): string {
  return join(given('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'vision-orchestrator', 'models');
}

/** `~/x` in the home directory; `~/.cache/x` follows XDG_CACHE_HOME. */
export function expandHome(path: string): string {
  const cache = given('XDG_CACHE_HOME');
  if (cache !== null && path.startsWith('~/.cache/')) return join(cache, path.slice('~/.cache/'.length));
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
}

/** Those of `names` that are set: what a subprocess may see of the environment. */
export function pickEnvironment(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}
