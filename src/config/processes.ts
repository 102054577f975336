/**
 * The options of the three daemons, compiled once from their configuration files and frozen. Relative paths are relative
 * to the current working directory, as in the reference (it is started in its root with `config/x.conf`); `~/` is the
 * home directory. Cross-field rules are the named functions below.
 */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { isAddress } from '../std/address.js';
import { type DatabaseConfig, databaseOf, databaseRule } from './database.js';
import { expandHome, tlsCaFileFromEnvironment, tokenFromEnvironment } from './environment.js';
import { parseIni } from './ini.js';
import { CollectorFileSchema, CoordinatorFileSchema, NodeConfFileSchema } from './sections.js';
import { deepFreeze, readSettings, readText, type Settings, type SettingsSchema, throwFirst } from './settings.js';

export interface ListenOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
}

/** What a process shows to its peers and asks of them; PEM. */
export interface TlsConfig {
  /** Null: it serves plain http. */
  readonly identity: { readonly cert: string; readonly key: string } | null;
  /** Undefined: the system's. */
  readonly ca: string | undefined;
}

export interface CoordinatorConfig {
  readonly file: string;
  readonly listen: ListenOptions;
  readonly nodePath: string;
  readonly handlerTypePath: string | null;
  readonly serviceTypePath: string;
  /** A name, or the path of a module. */
  readonly allocator: string;
  /** 0: never. */
  readonly linkProbePeriodS: number;
  /** When running sessions may be changed. */
  readonly loopRules: {
    readonly confirmS: number;
    readonly dwellS: number;
    readonly calmS: number;
    readonly improvePeriodS: number;
    readonly movesMax: number;
  };
  /** Null: where it listens. */
  readonly advertisedUrl: string | null;
  readonly database: DatabaseConfig;
  readonly token: string | null;
  readonly tls: TlsConfig;
}

export interface CollectorConfig {
  readonly file: string;
  readonly listen: ListenOptions;
  readonly nodePath: string;
  readonly retention: { readonly rowsS: number; readonly minutesS: number; readonly hoursS: number };
  readonly database: DatabaseConfig;
  readonly token: string | null;
  readonly tls: TlsConfig;
}

export interface NodeConfig {
  readonly file: string;
  readonly listen: ListenOptions;
  readonly nodeId: number | null;
  readonly nodeName: string;
  readonly labels: readonly string[];
  /** Emulated, (0, 1]. */
  readonly speed: number;
  /** Emulated error of the machine's clock, ms. */
  readonly clockSkewMs: number;
  readonly cpuCores: number | null;
  readonly memMb: number | null;
  readonly hostMemMb: number;
  /** Cores of one handler host, null: all. */
  readonly hostCpus: number | null;
  readonly outputsMb: number;
  readonly spareHosts: number;
  /** Null: by cores and handlers. */
  readonly threads: number | null;
  readonly shareBatchMax: number;
  readonly shareWaitMs: number;
  readonly dataDir: string;
  readonly allow: readonly string[];
  /** Command lines that external handlers may start. */
  readonly commands: readonly string[];
  readonly cacheDir: string;
  /** Null when [reporter] enabled is false. */
  readonly reporter: {
    readonly collectorUrl: string;
    readonly collectPeriodS: number;
    readonly sendPeriodS: number;
  } | null;
  readonly token: string | null;
  readonly tls: TlsConfig;
}

const HOUR_S = 3600;

export const path = (given: string): string => resolve(expandHome(given));

export function loadCoordinatorConfig(file: string): CoordinatorConfig {
  const { coordinator, database, security } = valid(CoordinatorFileSchema, file, coordinatorRules);
  return deepFreeze({
    file,
    listen: { host: coordinator.coordinator_addr, port: coordinator.coordinator_port },
    nodePath: path(coordinator.node_path),
    handlerTypePath: coordinator.handler_type_path === undefined ? null : path(coordinator.handler_type_path),
    serviceTypePath: path(coordinator.service_type_path),
    allocator: coordinator.allocator,
    linkProbePeriodS: coordinator.link_probe_period_s,
    loopRules: {
      confirmS: coordinator.confirm_s,
      dwellS: coordinator.dwell_s,
      calmS: coordinator.calm_s,
      improvePeriodS: coordinator.improve_period_s,
      movesMax: coordinator.moves_max,
    },
    advertisedUrl: coordinator.advertised_url ?? null,
    database: databaseOf(database),
    token: tokenOf(security),
    tls: tlsOf(security),
  });
}

export function loadCollectorConfig(file: string): CollectorConfig {
  const { collector, database, security } = valid(CollectorFileSchema, file, coordinatorRules);
  return deepFreeze({
    file,
    listen: { host: collector.collector_addr, port: collector.collector_port },
    nodePath: path(collector.node_path),
    retention: {
      rowsS: collector.retention_hours * HOUR_S,
      minutesS: collector.retention_minutes_days * 24 * HOUR_S,
      hoursS: collector.retention_hours_days * 24 * HOUR_S,
    },
    database: databaseOf(database),
    token: tokenOf(security),
    tls: tlsOf(security),
  });
}

export function loadNodeConfig(file: string): NodeConfig {
  const { listener, reporter, node, sources, external, models, security } = valid(NodeConfFileSchema, file, nodeRules);
  return deepFreeze({
    file,
    listen: { host: listener.listener_addr, port: listener.listener_port },
    nodeId: node.node_id ?? null,
    nodeName: node.node_name ?? hostname(),
    labels: node.labels,
    speed: node.speed,
    clockSkewMs: node.clock_skew_ms,
    cpuCores: node.cpu_cores ?? null,
    memMb: node.mem_mb ?? null,
    hostMemMb: node.host_mem_mb,
    hostCpus: node.host_cpus ?? null,
    outputsMb: node.outputs_mb,
    spareHosts: node.spare_hosts,
    threads: node.threads ?? null,
    shareBatchMax: node.share_batch,
    shareWaitMs: node.share_wait_ms,
    dataDir: path(node.data_path),
    allow: sources.allow.map((entry) => (isAddress(entry) ? entry : path(entry))),
    commands: external.commands,
    cacheDir: path(models.cache_path),
    reporter: reporter.enabled
      ? {
          collectorUrl: httpUrl(reporter.collector_addr, reporter.collector_port, reporter.collector_tls),
          collectPeriodS: reporter.collect_info_period,
          sendPeriodS: reporter.send_report_period,
        }
      : null,
    token: tokenOf(security),
    tls: tlsOf(security),
  });
}

export function httpUrl(host: string, port: number, tls: boolean): string {
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The database of a coordinator's or a collector's file. */
export function loadDatabaseConfig(file: string): DatabaseConfig {
  const names = parseIni(readText(file), file).sections;
  return (names.has('coordinator') ? loadCoordinatorConfig(file) : loadCollectorConfig(file)).database;
}

/** Which file it is, by the section that only it has; null when none is there. */
export function settingsProblems(file: string, sections: Iterable<string>): readonly OrchestratorError[] | null {
  const names = new Set(sections);
  if (names.has('coordinator')) return problemsOf(CoordinatorFileSchema, file, coordinatorRules);
  if (names.has('collector')) return problemsOf(CollectorFileSchema, file, coordinatorRules);
  if (['listener', 'reporter', 'graphical', 'node'].some((name) => names.has(name))) {
    return problemsOf(NodeConfFileSchema, file, nodeRules);
  }
  return null;
}

type Rules<S extends SettingsSchema> = (settings: Settings<S>) => OrchestratorError[];

function problemsOf<S extends SettingsSchema>(schema: S, file: string, rules: Rules<S>): OrchestratorError[] {
  const settings = readSettings(schema, file);
  return [...settings.problems, ...rules(settings)];
}

function valid<S extends SettingsSchema>(schema: S, file: string, rules: Rules<S>): Settings<S>['value'] {
  const settings = readSettings(schema, file);
  throwFirst([...settings.problems, ...rules(settings)]);
  return settings.value;
}

function tokenRule(security: { token?: string; token_file?: string }, file: string): OrchestratorError[] {
  if (security.token === undefined || security.token_file === undefined) return [];
  return [
    new OrchestratorError('CONFIG_INVALID', `${file}: [security] has both token and token_file; keep one`, { file }),
  ];
}

function tlsRule({ tls_cert, tls_key }: { tls_cert?: string; tls_key?: string }, file: string): OrchestratorError[] {
  if ((tls_cert === undefined) === (tls_key === undefined)) return [];
  const [has, lacks] = tls_cert === undefined ? ['tls_key', 'tls_cert'] : ['tls_cert', 'tls_key'];
  const message = `${file}: [security] ${has} is given without ${lacks}; https needs both`;
  return [new OrchestratorError('CONFIG_INVALID', message, { file, section: 'security', key: lacks })];
}

function securityRules(
  security: { token?: string; token_file?: string; tls_cert?: string; tls_key?: string },
  file: string,
) {
  return [...tokenRule(security, file), ...tlsRule(security, file)];
}

function coordinatorRules({ value, file }: Settings<typeof CoordinatorFileSchema | typeof CollectorFileSchema>) {
  return [...databaseRule(value.database, file), ...tokenRule(value.security, file)];
}

function nodeRules({ value, file }: Settings<typeof NodeConfFileSchema>): OrchestratorError[] {
  const problems = securityRules(value.security, file);
  if (!value.listener.enabled) {
    problems.push(
      new OrchestratorError(
        'CONFIG_INVALID',
        `${file}: [listener] enabled = false: a node without its listener can run nothing`,
        { file, section: 'listener', key: 'enabled' },
      ),
    );
  }
  return problems;
}

function tlsOf({ tls_cert, tls_key, tls_ca }: { tls_cert?: string; tls_key?: string; tls_ca?: string }): TlsConfig {
  const identity =
    tls_cert === undefined || tls_key === undefined
      ? null
      : { cert: readText(path(tls_cert)), key: readText(path(tls_key)) };
  return { identity, ca: tls_ca === undefined ? tlsCaFromEnvironment() : readText(path(tls_ca)) };
}

/** `ORCHESTRATOR_TLS_CA`, read. */
export function tlsCaFromEnvironment(): string | undefined {
  const file = tlsCaFileFromEnvironment();
  return file === null ? undefined : readText(path(file));
}

function tokenOf(security: { token?: string; token_file?: string }): string | null {
  const fromEnvironment = tokenFromEnvironment();
  if (fromEnvironment !== null) return fromEnvironment;
  if (security.token !== undefined) return security.token;
  if (security.token_file === undefined) return null;
  const file = path(security.token_file);
  const token = readText(file).split('\n')[0]!.trim();
  if (token === '')
    throw new OrchestratorError('CONFIG_INVALID', `${file}: the first line is empty, no token`, { file });
  return token;
}
