/**
 * Every section and key of the three configuration files, with unit, default and meaning. Types, checks and
 * docs/configuration.md come from here. The reference's keys keep their names; keys that are ours are marked `ours`.
 */
import Type, { type Static } from '#vendor/typebox.js';

const LOOPBACK = '127.0.0.1';
const MS_PER_DAY = 86_400_000;

const port = (fallback: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65535, default: fallback, description });
const text = (fallback: string, description: string) => Type.String({ default: fallback, description });
const optionalText = (description: string) => Type.Optional(Type.String({ description }));
const list = (fallback: string[], description: string) => Type.Array(Type.String(), { default: fallback, description });

const seconds = (fallback: number, description: string) =>
  Type.Number({ minimum: 0, maximum: 86_400, default: fallback, description });

const DatabaseSchema = Type.Object({
  db_path: optionalText(
    'SQLite file, made when missing (ours). Default `var/orchestrator.db` unless `db_addr` is given.',
  ),
  db_addr: optionalText('Address of a MySQL or MariaDB server, or the path of its Unix socket. `db_path` wins.'),
  db_port: Type.Integer({ minimum: 1, maximum: 65535, default: 3306, description: 'Port of the database server.' }),
  db_user: optionalText('User of the database server; needed with `db_addr`.'),
  db_passwd: optionalText('Password of that user. `ORCHESTRATOR_DB_PASSWD` in the environment wins.'),
  db_passwd_file: optionalText('File whose first line is the password (ours); keeps it out of this file.'),
  db_schema: text('reports', 'Schema on the server; made when missing.'),
  db_tls_ca: optionalText(
    "PEM file with the certificate that the server's must be signed by (ours): connections are then encrypted, or refused.",
  ),
  db_tls_cert: optionalText('PEM file with a certificate for a server that asks for one (ours). Needs `db_tls_key`.'),
  db_tls_key: optionalText('PEM file with the private key of `db_tls_cert` (ours).'),
});

const SecuritySchema = Type.Object({
  token: optionalText(
    'Bearer token that every request needs, and that this process sends to others (ours). `ORCHESTRATOR_TOKEN` in the environment wins.',
  ),
  token_file: optionalText('File whose first line is the token (ours); keeps it out of this file.'),
  tls_cert: optionalText(
    'PEM file with the certificate of this process (ours): it then serves https. Needs `tls_key`.',
  ),
  tls_key: optionalText('PEM file with the private key of `tls_cert` (ours).'),
  tls_ca: optionalText("PEM file with the certificates that peers' must be signed by (ours). Default: the system's."),
});

export const CoordinatorFileSchema = Type.Object({
  coordinator: Type.Object({
    coordinator_addr: text(LOOPBACK, 'Address to listen on (ours). Off loopback a token is required.'),
    coordinator_port: port(7000, 'Port to listen on (ours); 0 = any free one.'),
    advertised_url: Type.Optional(
      Type.String({
        pattern: '^https?://[^/\\s,]+$',
        description:
          'Where clients reach this coordinator (ours), named by the others where several share one MySQL or MariaDB. Default: where it listens.',
      }),
    ),
    node_path: text('resources/nodes', 'Directory of node files.'),
    handler_type_path: optionalText('Directory of handler type files: custom types, or other default costs.'),
    service_type_path: text('resources/services', 'Directory of service files.'),
    allocator: text(
      'orchestrator',
      'Who decides where handlers run (ours): orchestrator, round_robin, first_fit, least_loaded, network_aware, all_edge, all_cloud, static, or the path of a module of your own (docs/plan.md).',
    ),
    link_probe_period_s: Type.Number({
      minimum: 0,
      maximum: 3600,
      default: 30,
      description:
        'In this time every node measures its path to one other where no link runs, s (ours); 0 = never. A probe sends at most 5.25 MiB and takes about half a second.',
    }),
    confirm_s: seconds(
      3,
      'A missed latency or a slow node must last so long before a running session is changed for it, s (ours).',
    ),
    dwell_s: seconds(30, 'A session that was placed or changed stays so long, unless it cannot, s (ours).'),
    calm_s: seconds(
      10,
      'Nothing must have been refused, lost or slow for so long before sessions rise again, s (ours).',
    ),
    improve_period_s: seconds(30, 'Between two searches for a better placement of all running sessions, s (ours).'),
    moves_max: Type.Integer({
      minimum: 0,
      maximum: 10_000,
      default: 12,
      description:
        'Handlers of sessions that could have stayed which may move in a minute, for each 240 that run (ours); four times as many for who is late or waits; 0 = only what must move does.',
    }),
  }),
  database: DatabaseSchema,
  security: SecuritySchema,
});
export type CoordinatorFile = Static<typeof CoordinatorFileSchema>;

export const CollectorFileSchema = Type.Object({
  collector: Type.Object({
    collector_addr: text(LOOPBACK, 'Address to listen on. Off loopback a token is required.'),
    collector_port: port(9001, 'Port to listen on; 0 = any free one.'),
    node_path: text('resources/nodes', 'Directory of node files: who may report.'),
    retention_hours: Type.Number({
      exclusiveMinimum: 0,
      default: 24,
      description: 'Rows older than this are deleted, h (ours); aggregates by the minute and the hour stay.',
    }),
    retention_minutes_days: Type.Number({
      exclusiveMinimum: 0,
      default: 30,
      description: 'Aggregates of a minute (tables `*_minute`) older than this are deleted, days (ours).',
    }),
    retention_hours_days: Type.Number({
      exclusiveMinimum: 0,
      default: 730,
      description: 'Aggregates of an hour (tables `*_hour`) older than this are deleted, days (ours).',
    }),
  }),
  database: DatabaseSchema,
  security: SecuritySchema,
});
export type CollectorFile = Static<typeof CollectorFileSchema>;

export const NodeConfFileSchema = Type.Object({
  graphical: Type.Object({
    enabled: Type.Boolean({
      default: true,
      description:
        'Accepted for files of the reference. Frames are shown as a page of the render handler, not in a window.',
    }),
  }),
  listener: Type.Object({
    enabled: Type.Boolean({ default: true, description: 'Whether the node takes control requests; it needs to.' }),
    listener_addr: text(LOOPBACK, 'Address to listen on. Off loopback a token is required.'),
    listener_port: port(9000, 'Port to listen on; 0 = any free one.'),
  }),
  reporter: Type.Object({
    enabled: Type.Boolean({ default: true, description: 'Whether the node sends reports to the collector.' }),
    collector_addr: text(LOOPBACK, 'Address of the collector.'),
    collector_port: Type.Integer({ minimum: 1, maximum: 65535, default: 9001, description: 'Port of the collector.' }),
    collector_tls: Type.Boolean({ default: false, description: 'Whether the collector serves https (ours).' }),
    collect_info_period: Type.Number({
      minimum: 0.1,
      maximum: 3600,
      default: 1,
      description: 'Time between two samples of CPU, memory and GPU, s.',
    }),
    send_report_period: Type.Number({
      minimum: 0.1,
      maximum: 3600,
      default: 5,
      description: 'Time between two reports, s.',
    }),
  }),
  node: Type.Object({
    node_id: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'The node_id of its node file (ours). Without it the coordinator knows the node by its address.',
      }),
    ),
    node_name: optionalText('Name shown to people (ours). Default: the host name.'),
    labels: list([], 'Labels that services may ask for with `at` or `require` (ours), separated by commas.'),
    speed: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      default: 1,
      description:
        'Emulated speed of one core (ours): below 1 every packet takes 1/speed as long. For demos of unequal nodes on one machine; leave it at 1 otherwise.',
    }),
    clock_skew_ms: Type.Number({
      minimum: -MS_PER_DAY,
      maximum: MS_PER_DAY,
      default: 0,
      description:
        "Emulated error of this machine's clock, ms (ours): added to it as if it had been set wrong. For tests and demos of nodes whose clocks differ; leave it at 0 otherwise.",
    }),
    cpu_cores: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Cores that handlers may use (ours). Default: all of the machine.' }),
    ),
    mem_mb: Type.Optional(
      Type.Integer({ minimum: 64, description: 'Memory that handlers may use, MiB (ours). Default: what is free.' }),
    ),
    host_mem_mb: Type.Integer({
      minimum: 128,
      default: 4096,
      description:
        'Memory of one handler host, MiB (ours). Above it the host is killed and started again, which the event `handler.restarted` says. Kept by the kernel where the agent may make control groups, else looked at twice a second.',
    }),
    host_cpus: Type.Optional(
      Type.Number({
        minimum: 0.01,
        maximum: 4096,
        description:
          'Cores that one handler host may use, such as 1.5 (ours). Needs control groups: root, or `Delegate=cpu memory` of systemd; refused elsewhere. Default: all.',
      }),
    ),
    spare_hosts: Type.Integer({
      minimum: 0,
      maximum: 8,
      default: 1,
      description:
        'Handler hosts that are kept started without a session (ours), about 95 MiB each: what is moved here, or was lost elsewhere, runs a second sooner.',
    }),
    threads: Type.Optional(
      Type.Integer({
        minimum: 1,
        description:
          'Threads of one inference (ours). Default: the cores divided by the inferences that run on the node, at most 4; 1 for models that take less than 5 ms.',
      }),
    ),
    share_batch: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 16,
      description: 'Pictures of one inference of a shared model, where it takes several (ours).',
    }),
    share_wait_ms: Type.Number({
      minimum: 0,
      maximum: 1000,
      default: 0,
      description:
        'How long an inference of a shared model may wait for pictures of other sessions, ms (ours): never beyond a deadline. Worth more than 0 on a GPU.',
    }),
    outputs_mb: Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      default: 20480,
      description:
        'What sinks of all sessions may leave in data_path, MiB (ours). Above it the oldest files are removed: first of sessions that have ended, then pictures and videos of running ones.',
    }),
    data_path: text('var/node', 'Directory for outputs of sinks, sockets and unsent reports (ours).'),
  }),
  sources: Type.Object({
    allow: list(
      ['.'],
      'What sessions may name (ours), separated by commas: directories with pictures, videos, galleries; devices ' +
        '(/dev/video0); addresses of streams by their beginning (rtsp://cam-1, http://10.0.0.5:8080/, or rtsp:// for all).',
    ),
  }),
  external: Type.Object({
    commands: list(
      [],
      'Command lines that external handlers may start on this node, each word for word, without a shell (ours), separated by commas. Default: none.',
    ),
  }),
  models: Type.Object({
    cache_path: text(
      '~/.cache/vision-orchestrator/models',
      'Directory of converted models (ours); may be deleted at any time.',
    ),
  }),
  security: SecuritySchema,
});
export type NodeConfFile = Static<typeof NodeConfFileSchema>;
