/** docs/configuration.md, written from the schemas in sections.ts; a test holds the two together. */
import type { TObject } from '#vendor/typebox.js';
import { CollectorFileSchema, CoordinatorFileSchema, NodeConfFileSchema } from './sections.js';
import type { KeySchema, SettingsSchema } from './settings.js';

const PAGES: readonly { title: string; command: string; schema: SettingsSchema }[] = [
  { title: 'Coordinator', command: 'orchestrator coordinator config/coordinator.conf', schema: CoordinatorFileSchema },
  { title: 'Collector', command: 'orchestrator collector config/collector.conf', schema: CollectorFileSchema },
  { title: 'Node', command: 'orchestrator node config/node.conf', schema: NodeConfFileSchema },
];

const INTRODUCTION = `# Configuration

Three INI files, one per daemon; samples are in \`config/\`. Every key of the reference keeps its name; keys that are ours
say so. \`orchestrator check config/\` reads all of it, with the node and service files that it names, and lists every
problem with file, line and code.

- Every line is blank, a comment (\`;\` or \`#\`), \`[section]\` or \`key = value\`. Anything else is refused with its line
  number, and so is an unknown section, an unknown key, or a key that comes twice. Keys are case-insensitive.
- A \`;\` or \`#\` after a space begins a comment; quote a value that needs one: \`db_passwd = "a ;b"\`.
- An empty value means the default.
- Items of a list are separated by commas; a comma inside an item is written \`\\,\`.
- **Relative paths are relative to the current working directory**, as in the reference, which is started in its root with
  \`config/x.conf\`. \`~/\` is the home directory; \`~/.cache/\` follows \`XDG_CACHE_HOME\`.
- Everything listens on loopback by default. Off loopback a token is required; without one the start is refused, unless
  \`--insecure\` is given.

Environment: \`ORCHESTRATOR_TOKEN\` (token of daemons and of the command line), \`ORCHESTRATOR_URL\` (address of the coordinator
for the command line; several, separated by commas, where several share one database), \`XDG_CACHE_HOME\`.

This page is written from \`src/config/sections.ts\`: after changing it, run \`npm run docs\`.
`;

export function configurationPage(): string {
  const parts = PAGES.map(({ title, command, schema }) => {
    const sections = Object.entries(schema.properties).map(([name, section]) => sectionTable(name, section));
    return `## ${title}\n\n\`${command}\`\n\n${sections.join('\n')}`;
  });
  return `${INTRODUCTION}\n${parts.join('\n')}`;
}

function sectionTable(name: string, section: TObject): string {
  const rows = Object.entries(section.properties).map(([key, schema]) => {
    const { type, description = '' } = schema as KeySchema;
    return `| \`${key}\` | ${kindOf(type)}${rangeOf(schema)} | ${defaultOf(schema)} | ${description} |`;
  });
  return `### [${name}]\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

const KINDS: Record<string, string> = {
  integer: 'whole number',
  number: 'number',
  boolean: 'true or false',
  array: 'list',
};

function kindOf(type: string | undefined): string {
  return KINDS[type ?? ''] ?? 'text';
}

function rangeOf({ minimum, maximum, exclusiveMinimum }: KeySchema): string {
  const low = minimum !== undefined ? `>= ${minimum}` : exclusiveMinimum !== undefined ? `> ${exclusiveMinimum}` : '';
  const high = maximum !== undefined ? `<= ${maximum}` : '';
  const range = [low, high].filter((part) => part !== '').join(', ');
  return range === '' ? '' : `, ${range}`;
}

function defaultOf({ default: fallback }: KeySchema): string {
  if (fallback === undefined || (Array.isArray(fallback) && fallback.length === 0)) return '-';
  return `\`${Array.isArray(fallback) ? fallback.join(', ') : String(fallback)}\``;
}
