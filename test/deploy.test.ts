/**
 * What is in deploy/ fits the program: units, image and compose file start commands that exist with files that are there and
 * valid, and speak of one another by names that they have. Neither systemd nor Docker is needed; systemd is asked where it is.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseIni } from '../src/config/ini.js';
import { cliEntry } from '../src/main/package-facts.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DEPLOY = join(ROOT, 'deploy');
const UNITS = join(DEPLOY, 'systemd');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
  bin: { orchestrator: string };
};

test.each(readdirSync(UNITS).map((name) => join(UNITS, name)))('%s', (file) => {
  const command = /^ExecStart=\/usr\/bin\/env orchestrator (\w+) \/etc\/orchestrator\/\w+\.conf$/m.exec(
    readFileSync(file, 'utf8'),
  )?.[1];
  expect(execFileSync(process.execPath, [cliEntry(), command!, '--help'], { encoding: 'utf8' })).toContain(
    '--insecure',
  );
  const verified = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
  if (verified.error === undefined) expect(verified.stderr + verified.stdout).not.toContain(file);
});

interface Instruction {
  readonly word: string;
  readonly rest: string;
  /** Of the stage that it is in. */
  readonly stage: string;
}

/** Lines that end with a backslash go on; comments and empty lines are nothing. */
function instructions(text: string): Instruction[] {
  let stage = '';
  const lines = text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, word = '', rest = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
      if (word === 'FROM') stage = / AS (\w+)$/.exec(rest)?.[1] ?? 'last';
      return { word, rest, stage };
    });
}

interface Copy {
  readonly from: string | null;
  readonly sources: readonly string[];
  readonly target: string;
}

function copyOf({ rest }: Instruction): Copy {
  const words = rest.split(/ +/);
  const from = words[0]!.startsWith('--from=') ? words.shift()!.slice('--from='.length) : null;
  return { from, target: words.at(-1)!, sources: words.slice(0, -1) };
}

describe('the image', () => {
  const image = instructions(readFileSync(join(DEPLOY, 'Dockerfile'), 'utf8'));
  const copies = (stage: string) => image.filter((one) => one.word === 'COPY' && one.stage === stage).map(copyOf);

  test('has only instructions that there are, and copies what is there and not ignored', () => {
    const known = ['FROM', 'WORKDIR', 'COPY', 'RUN', 'USER', 'VOLUME', 'ENTRYPOINT', 'CMD'];
    expect(image.map(({ word }) => word).filter((word) => !known.includes(word))).toEqual([]);
    const ignored = readFileSync(join(DEPLOY, 'Dockerfile.dockerignore'), 'utf8').split('\n');
    expect(ignored[0]).toBe('*');
    for (const { sources } of [...copies('build'), ...copies('last')].filter(({ from }) => from === null)) {
      for (const source of sources) {
        expect(existsSync(join(ROOT, source)), source).toBe(true);
        expect(ignored).toContain(`!${source}`);
      }
    }
  });

  test('builds by scripts of the package, from what its sources need', () => {
    const runs = image.filter(({ word, stage }) => word === 'RUN' && stage === 'build').map(({ rest }) => rest);
    const scripts = runs.flatMap((rest) => [...rest.matchAll(/npm run (\w+)/g)].map(([, name]) => name!));
    expect(scripts).toEqual(['build']);
    const [, configuration] = /tsc -p (\S+)/.exec(manifest.scripts.build!)!;
    const copied = copies('build').flatMap(({ sources }) => sources);
    const settings = JSON.parse(readFileSync(join(ROOT, configuration!), 'utf8'));
    expect(copied).toEqual(expect.arrayContaining([configuration, settings.extends.slice(2), ...settings.include]));
  });

  test('copies between stages what the build has made', () => {
    const copied = copies('build').flatMap(({ sources }) => sources);
    for (const { from, sources } of copies('last')) {
      if (from === null) continue;
      expect(image.some(({ word, stage }) => word === 'FROM' && stage === from)).toBe(true);
      const names = sources.map((source) => /^\/build\/(.+)$/.exec(source)?.[1]);
      for (const name of names) expect([...copied, 'node_modules', 'dist']).toContain(name);
    }
  });

  test('links and starts the program of the package', () => {
    const links = image.map(({ rest }) => /ln -s \/app\/(\S+) \/usr\/local\/bin\/(\w+)/.exec(rest)).filter(Boolean);
    expect(links.map((link) => [link![1], link![2]])).toEqual([[manifest.bin.orchestrator, 'orchestrator']]);
    const entry = image.find(({ word }) => word === 'ENTRYPOINT')!;
    expect(JSON.parse(entry.rest).at(-1)).toBe('orchestrator');
  });
});

interface ComposeService {
  readonly command?: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly environment: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
}

describe('the compose file', () => {
  const text = readFileSync(join(DEPLOY, 'compose.yaml'), 'utf8');
  const compose = parse(text, { merge: true }) as {
    services: Record<string, ComposeService>;
    volumes: Record<string, null>;
  };
  const services = Object.entries(compose.services);
  const daemons = services.filter(([, { command }]) => command !== undefined);
  const fileOf = (conf: string) => join(DEPLOY, 'compose', conf.replace(/^\/etc\/orchestrator\//, ''));
  const settings = (conf: string) => parseIni(readFileSync(fileOf(conf), 'utf8'), conf).sections;
  const setting = (conf: string, section: string, key: string) => settings(conf).get(section)?.entries.get(key)?.value;

  /** The image's /app and /etc/orchestrator, put together here by what the Dockerfile copies. */
  let app: string;
  let etc: string;
  beforeAll(() => {
    const directory = mkdtempSync(join(tmpdir(), 'image-'));
    app = join(directory, 'app');
    etc = join(directory, 'etc');
    mkdirSync(app);
    for (const name of ['dist', 'node_modules']) symlinkSync(join(ROOT, name), join(app, name));
    for (const name of ['package.json', 'resources']) cpSync(join(ROOT, name), join(app, name), { recursive: true });
    cpSync(join(DEPLOY, 'compose'), etc, { recursive: true });
    for (const name of readdirSync(etc).filter((one) => one.endsWith('.conf'))) {
      const conf = readFileSync(join(etc, name), 'utf8');
      writeFileSync(join(etc, name), conf.replaceAll('/etc/orchestrator', etc).replaceAll('/app/', `${app}/`));
    }
  });
  afterAll(() => rmSync(dirname(app), { recursive: true, force: true }));

  test('starts commands that there are, with files that are there and valid', () => {
    for (const [name, { command, build }] of daemons) {
      expect(existsSync(join(DEPLOY, build!.context, build!.dockerfile)), name).toBe(true);
      expect(existsSync(fileOf(command![1]!)), name).toBe(true);
      const entry = join(app, manifest.bin.orchestrator);
      const help = execFileSync(process.execPath, [entry, command![0]!, '--help'], { encoding: 'utf8' });
      expect(help).toContain('--insecure');
    }
    const checked = execFileSync(process.execPath, [join(app, manifest.bin.orchestrator), 'check', etc], {
      encoding: 'utf8',
    });
    expect(checked).toContain('no problem');
  });

  test('mounts and needs what there is', () => {
    for (const [name, { volumes = [], depends_on = {} }] of services) {
      for (const dependency of Object.keys(depends_on)) expect(compose.services, name).toHaveProperty(dependency);
      for (const volume of volumes.filter((one) => !one.startsWith('$'))) {
        const from = volume.split(':')[0]!;
        if (from.startsWith('.')) expect(existsSync(join(DEPLOY, from)), volume).toBe(true);
        else expect(compose.volumes, volume).toHaveProperty(from);
      }
    }
    const asked = new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!));
    const given = readFileSync(join(DEPLOY, 'compose', 'example.env'), 'utf8').match(/^\w+(?==)/gm)!;
    expect([...asked].sort()).toEqual([...given].sort());
  });

  test('its parts know one another by their names and ports', () => {
    const nodes = join(DEPLOY, 'compose', 'nodes');
    const files = readdirSync(nodes).map((name) => JSON.parse(readFileSync(join(nodes, name), 'utf8')));
    const agents = daemons.filter(([, { command }]) => command![0] === 'node');
    expect(files.map(({ node_addr }) => node_addr).sort()).toEqual(agents.map(([name]) => name).sort());
    for (const [name, { command }] of agents) {
      const conf = command![1]!;
      const file = files.find(({ node_addr }) => node_addr === name);
      expect(setting(conf, 'node', 'node_id')).toBe(String(file.node_id));
      expect(setting(conf, 'listener', 'listener_port')).toBe(String(file.node_port));
      expect(setting(conf, 'reporter', 'collector_addr')).toBe('collector');
      expect(compose.services[name]!.environment).toHaveProperty('ORCHESTRATOR_TOKEN');
    }
    for (const name of ['coordinator', 'collector']) {
      const { command, ports, environment } = compose.services[name]!;
      const port = setting(command![1]!, name, `${name}_port`);
      expect(ports).toEqual([`127.0.0.1:${port}:${port}`]);
      expect(environment).toHaveProperty('ORCHESTRATOR_TOKEN');
      expect(environment).toHaveProperty('ORCHESTRATOR_DB_PASSWD');
      const database = compose.services[setting(command![1]!, 'database', 'db_addr')!]!.environment;
      expect(database.MARIADB_USER).toBe(setting(command![1]!, 'database', 'db_user'));
      expect(database.MARIADB_DATABASE).toBe(setting(command![1]!, 'database', 'db_schema'));
      expect(database.MARIADB_PASSWORD).toBe(environment.ORCHESTRATOR_DB_PASSWD);
    }
  });
});
