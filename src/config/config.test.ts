import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import { testRegistry } from '../contracts/registry.testing.js';
import { checkPaths } from './check.js';
import { configurationPage } from './configuration-page.js';
import { iniText, listText, parseIni } from './ini.js';
import { loadCollectorConfig, loadCoordinatorConfig, loadDatabaseConfig, loadNodeConfig } from './processes.js';
import { documentFiles, loadHandlerTypeFiles, loadNodeFiles, loadServiceFiles } from './resources.js';

let root: string;
let savedToken: string | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'config-'));
  savedToken = process.env.ORCHESTRATOR_TOKEN;
  delete process.env.ORCHESTRATOR_TOKEN;
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
  if (savedToken === undefined) delete process.env.ORCHESTRATOR_TOKEN;
  else process.env.ORCHESTRATOR_TOKEN = savedToken;
});

function file(name: string, text: string | object): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text));
  return path;
}

function thrown(run: () => unknown): OrchestratorError {
  try {
    run();
  } catch (error) {
    if (error instanceof OrchestratorError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const NODE = { node_id: 1, node_name: 'edge', node_type: 'server', node_addr: '10.21.20.10', node_port: 9000 };

describe('ini', () => {
  test('reads sections, both separators, comments, quotes and values with a #', () => {
    const text = '\uFEFF; c\n# c\n\n[A] ; c\nx = 1 ; c\ny: two words\n[b]\npw = pa#ss\nq = "a ;b"\nempty =\n';
    const { sections, problems } = parseIni(text, 'x.conf');
    expect(problems).toEqual([]);
    const values = [...sections].map(([name, { entries }]) => [
      name,
      [...entries].map(([key, one]) => [key, one.value, one.line]),
    ]);
    expect(values).toEqual([
      [
        'a',
        [
          ['x', '1', 5],
          ['y', 'two words', 6],
        ],
      ],
      [
        'b',
        [
          ['pw', 'pa#ss', 8],
          ['q', 'a ;b', 9],
          ['empty', '', 10],
        ],
      ],
    ]);
  });

  test('what is written reads back, commas, quotes and comment signs included', () => {
    const allow = ['/a, b', '/c;d #e', '/f"g\\h'];
    const conf = file('n.conf', iniText({ node: { node_name: 'x ;y' }, sources: { allow: listText(allow) } }));
    const config = loadNodeConfig(conf);
    expect([config.nodeName, config.allow]).toEqual(['x ;y', allow]);
  });

  test('names every malformed line by its number', () => {
    const text = 'early = 1\n[a]\nno separator\n[broken\nx = 1\nX = 2\n[a]\n= 3\n__proto__ = 4\n';
    const messages = parseIni(text, 'x.conf').problems.map((problem) => problem.message);
    expect(messages).toEqual([
      'x.conf:1: early stands before any [section]',
      'x.conf:3: neither [section] nor key = value: no separator',
      'x.conf:4: neither [section] nor key = value: [broken',
      'x.conf:6: [a] x is already on line 5',
      'x.conf:7: section [a] is already on line 2',
      'x.conf:8: neither [section] nor key = value: = 3',
      'x.conf:9: neither [section] nor key = value: __proto__ = 4',
    ]);
  });
});

describe('daemon configuration', () => {
  test("a node file of the reference's keys loads, defaulted and frozen", () => {
    const conf = file(
      'server.conf',
      '[graphical]\nenabled = False\n[listener]\nenabled = True\nlistener_addr = 0.0.0.0\nlistener_port = 9000\n' +
        '[reporter]\nenabled = True\ncollector_addr = 10.0.0.2\ncollector_port = 9001\ncollect_info_period = 1\nsend_report_period = 5\n',
    );
    const config = loadNodeConfig(conf);
    expect(config.listen).toEqual({ host: '0.0.0.0', port: 9000 });
    expect(config.reporter).toEqual({
      collectorUrl: 'http://10.0.0.2:9001',
      collectPeriodS: 1,
      sendPeriodS: 5,
    });
    expect([config.nodeId, config.speed, config.token]).toEqual([null, 1, null]);
    expect(config.allow).toEqual([resolve('.')]);
    expect(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(config.allow)).toBe(true);
  });

  test('relative paths are relative to the working directory', () => {
    const conf = file(
      'deep/coordinator.conf',
      '[coordinator]\nnode_path = resources/node\n[database]\ndb_path = d.db\n',
    );
    const config = loadCoordinatorConfig(conf);
    expect(config.nodePath).toBe(resolve('resources/node'));
    expect(config.database).toEqual({ engine: 'sqlite', path: resolve('d.db') });
  });

  test('unknown sections and keys, wrong types and ranges are named with their lines, all at once', () => {
    const conf = file(
      'x.conf',
      '[listener]\nlistener_port = 70000\nlisten = 1\n[node]\nspeed = fast\ncpu_cores = 0\n[extra]\n',
    );
    const error = thrown(() => loadNodeConfig(conf));
    expect(error.code).toBe('CONFIG_INVALID');
    const all = [error.message, ...(error.context.more as string[])].join('\n');
    expect(all).toContain(`${conf}:2: [listener] listener_port must be <= 65535 (is 70000)`);
    expect(all).toContain(`${conf}:3: [listener] has no key listen; known: enabled, listener_addr, listener_port`);
    expect(all).toContain(`${conf}:5: [node] speed must be number (is "fast")`);
    expect(all).toContain(`${conf}:6: [node] cpu_cores must be >= 1 (is 0)`);
    expect(all).toContain(`${conf}:7: unknown section [extra]`);
  });

  test('a missing file and a directory are CONFIG_UNREADABLE', () => {
    const error = thrown(() => loadCollectorConfig(join(root, 'none.conf')));
    expect([error.code, error.message]).toEqual(['CONFIG_UNREADABLE', `${join(root, 'none.conf')}: no such file`]);
    expect(thrown(() => loadCollectorConfig(root)).code).toBe('CONFIG_UNREADABLE');
  });

  test('a MySQL address is a server, except where db_path names a file', () => {
    const mysql = '[database]\ndb_addr = 10.0.0.2\ndb_port = 3307\ndb_user = u\ndb_passwd = p;#"x\n';
    const server = { engine: 'mysql', host: '10.0.0.2', port: 3307, user: 'u', schema: 'reports' };
    const conf = file('a.conf', `[coordinator]\n${mysql}`);
    expect(loadCoordinatorConfig(conf).database).toEqual({ ...server, password: 'p;#"x' });
    expect(loadDatabaseConfig(conf)).toEqual(loadCoordinatorConfig(conf).database);
    const both = file('b.conf', `[collector]\n${mysql}db_path = x.db\n`);
    expect(loadCollectorConfig(both).database).toEqual({ engine: 'sqlite', path: resolve('x.db') });
    const nobody = file('c.conf', '[collector]\n[database]\ndb_addr = 10.0.0.2\n');
    expect(thrown(() => loadCollectorConfig(nobody)).message).toContain('db_addr = 10.0.0.2 needs db_user');
  });

  test('TLS to the database: certificates are read, and half of a pair is refused', () => {
    const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => file(`${name}.pem`, `${name} of the database`));
    const conf = (name: string, keys: string) =>
      file(name, `[collector]\n[database]\ndb_addr = db\ndb_user = u\n${keys}\n`);
    const tlsOf = (path: string) => (loadCollectorConfig(path).database as { tls?: object }).tls;
    const pem = { ca: 'ca of the database', cert: 'cert of the database', key: 'key of the database' };
    expect(tlsOf(conf('a.conf', ''))).toBeUndefined();
    expect(tlsOf(conf('b.conf', `db_tls_ca = ${ca}`))).toEqual({ ca: pem.ca });
    expect(tlsOf(conf('c.conf', `db_tls_ca = ${ca}\ndb_tls_cert = ${cert}\ndb_tls_key = ${key}`))).toEqual(pem);
    const refused = (keys: string) => thrown(() => loadCollectorConfig(conf('d.conf', keys))).message;
    expect(refused(`db_tls_ca = ${ca}\ndb_tls_cert = ${cert}`)).toContain('db_tls_cert is given without db_tls_key');
    expect(refused(`db_tls_cert = ${cert}\ndb_tls_key = ${key}`)).toContain('db_tls_cert is given without db_tls_ca');
    expect(thrown(() => loadCollectorConfig(conf('e.conf', 'db_tls_ca = none.pem'))).code).toBe('CONFIG_UNREADABLE');
  });

  test('the database password comes from the environment, else the key, else the first line of the file', () => {
    const conf = (name: string, more: string) =>
      file(name, `[collector]\n[database]\ndb_addr = 10.0.0.2\ndb_user = u\n${more}\n`);
    const passwordOf = (path: string) => (loadCollectorConfig(path).database as { password: string }).password;
    const secret = file('secret', ' from file \nmore\n');
    expect(passwordOf(conf('a.conf', ''))).toBe('');
    expect(passwordOf(conf('b.conf', `db_passwd_file = ${secret}`))).toBe(' from file ');
    const both = thrown(() => loadCollectorConfig(conf('c.conf', `db_passwd = s3cret\ndb_passwd_file = ${secret}`)));
    expect([both.code, both.message]).toEqual(['CONFIG_INVALID', expect.not.stringContaining('s3cret')]);
    const broken = thrown(() => loadCollectorConfig(conf('d.conf', 'db_passwd s3cret')));
    expect(JSON.stringify([broken.message, broken.context])).not.toContain('s3cret');
    process.env.ORCHESTRATOR_DB_PASSWD = 'from-environment';
    expect(passwordOf(conf('e.conf', 'db_passwd = p'))).toBe('from-environment');
    delete process.env.ORCHESTRATOR_DB_PASSWD;
  });

  test('the token comes from the environment, else the key, else the first line of the file', () => {
    const inline = file('a.conf', '[collector]\n[security]\ntoken = inline\n');
    expect(loadCollectorConfig(inline).token).toBe('inline');
    const token = file('token', 'from-file\nmore\n');
    const byFile = file('b.conf', `[collector]\n[security]\ntoken_file = ${token}\n`);
    expect(loadCollectorConfig(byFile).token).toBe('from-file');
    process.env.ORCHESTRATOR_TOKEN = 'from-environment';
    expect(loadCollectorConfig(inline).token).toBe('from-environment');
    const both = file('c.conf', `[collector]\n[security]\ntoken = a\ntoken_file = ${token}\n`);
    expect(thrown(() => loadCollectorConfig(both)).code).toBe('CONFIG_INVALID');
  });

  test('a certificate and its key are read, and one without the other is refused', () => {
    const [cert, key] = [file('cert.pem', 'CERT'), file('key.pem', 'KEY')];
    const both = file('tls.conf', `[listener]\n[security]\ntls_cert = ${cert}\ntls_key = ${key}\ntls_ca = ${cert}\n`);
    expect(loadNodeConfig(both).tls).toEqual({ identity: { cert: 'CERT', key: 'KEY' }, ca: 'CERT' });
    const half = file('half.conf', `[listener]\n[security]\ntls_cert = ${cert}\n`);
    expect(thrown(() => loadNodeConfig(half)).message).toContain('tls_cert is given without tls_key');
  });

  test('a node without a listener is refused', () => {
    expect(thrown(() => loadNodeConfig(file('n.conf', '[listener]\nenabled = no\n'))).message).toContain(
      'can run nothing',
    );
  });
});

describe('resource files', () => {
  test('bad node files are refused by name and the rest still loads; duplicates keep the first', () => {
    file('nodes/a.json', NODE);
    file('nodes/b.json', { ...NODE, node_name: 'twin' });
    file('nodes/c.json', '{"node_id": 2,\n "node_name": }');
    file('nodes/d.yaml', 'node_id: 3\nnode_name: d\nnode_type: client\nnode_addr: 127.0.0.1\nnode_port: 9000\n');
    file('nodes/e.json', { ...NODE, node_id: 4, node_port: 0 });
    file('nodes/f.yml', 'a: [1\n');
    file('nodes/notes.txt', 'not read');
    const { items, problems } = loadNodeFiles(documentFiles(join(root, 'nodes')));
    expect(items.map((node) => node.node_name)).toEqual(['edge', 'd']);
    expect(problems.map((one) => one.code)).toEqual([
      'NODE_DUPLICATE',
      'NODE_FILE_INVALID',
      'NODE_FILE_INVALID',
      'NODE_FILE_INVALID',
    ]);
    expect(problems[1]?.message).toMatch(/c\.json:2: not valid JSON/);
    expect(problems[2]?.message).toMatch(/e\.json: \/node_port must be >= 1 \(is 0\)/);
    expect(problems[3]?.message).toMatch(/f\.yml:\d+: not valid YAML/);
  });

  test('handler types are declared first, so that services may use them', () => {
    const types = testRegistry();
    const declared = { handler_type_id: 40, handler_type_name: 'count', inputs: [{ name: 'in', accepts: ['boxes'] }] };
    const loaded = loadHandlerTypeFiles(
      [file('t/a.json', declared), file('t/b.json', { ...declared, handler_type_id: 2 })],
      types,
    );
    expect(loaded.items).toHaveLength(1);
    expect(loaded.problems[0]?.message).toMatch(/b\.json: handler_type_id 2 is capture, not count/);
    const service = {
      service_id: 1,
      service_name: 'counting',
      handlers: [
        { handler_id: 0, handler_name: 'capture', handler_type: 'capture' },
        { handler_id: 1, handler_name: 'detect', handler_type: 'YoloDetectObject' },
        { handler_id: 2, handler_name: 'count', handler_type: 40 },
      ],
      links: [
        { source_handler: 0, target_handler: 1 },
        { source_handler: 1, target_handler: 2 },
      ],
    };
    const files = [file('s/a.json', service), file('s/b.json', { ...service, service_id: 2 })];
    const services = loadServiceFiles(files, types);
    expect(services.items.map((one) => one.service_name)).toEqual(['counting']);
    expect(services.problems.map((one) => one.code)).toEqual(['SERVICE_DUPLICATE']);
  });
});

describe('check', () => {
  test('lists every problem of a directory with file, place and code, and follows the paths of INI files', () => {
    const nodes = file('elsewhere/n.json', { ...NODE, node_port: 99999 });
    file(
      'conf/coordinator.conf',
      `[coordinator]\nnode_path = ${dirname(nodes)}\nservice_type_path = ${join(root, 'gone')}\nbad line\n`,
    );
    file('conf/other.conf', '[nothing]\nx = 1\n');
    file('conf/service.json', {
      service_id: 1,
      service_name: 's',
      handlers: [
        { handler_id: 0, handler_name: 'detect', handler_type: 7 },
        { handler_id: 1, handler_name: 'decode', handler_type: 6 },
      ],
      links: [{ source_handler: 0, target_handler: 1 }],
    });
    file('conf/package.json', { name: 'x' });
    const result = checkPaths([join(root, 'conf')], testRegistry());
    expect(result.problems.map((one) => one.code).sort()).toEqual([
      'CONFIG_INVALID',
      'CONFIG_MALFORMED',
      'CONFIG_UNREADABLE',
      'LINK_TYPE_MISMATCH',
      'NODE_FILE_INVALID',
    ]);
    expect(result.problems.every((one) => one.message.startsWith(root))).toBe(true);
    expect(result.skipped).toEqual([join(root, 'conf', 'package.json')]);
  });

  test('a file given by name that is no configuration is a problem', () => {
    const result = checkPaths([file('x.json', {}), join(root, 'none')], testRegistry());
    expect(result.problems.map((one) => one.code)).toEqual(['CONFIG_INVALID', 'CONFIG_UNREADABLE']);
  });
});

test('docs/configuration.md is written from the schemas', async () => {
  await expect(configurationPage()).toMatchFileSnapshot('../../docs/configuration.md');
});
