/**
 * A handler host for tests of the agent: speaks host-protocol.ts without any handler code. The parameters of its handlers
 * say how it misbehaves: `fail`, `never_ready`, `crash_at_start`, `crash_on_run`, `deaf` (answers no ping),
 * `ignore_stop`, `grow_mb`, `print`.
 */
import { createServer } from 'node:http';

const told = [];
const ballast = [];
let config = null;
let running = false;
const param = (name) => config.handlers.map((one) => one.params[name]).find((value) => value !== undefined);

const server = createServer((request, response) => {
  if (request.url.endsWith('/pages/told')) {
    response.end(JSON.stringify(told));
  } else if (request.url.endsWith('/pages/live')) {
    // an endless answer, like a motion JPEG
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=x' });
    const timer = setInterval(() => response.write('--x\r\n'), 10);
    response.once('close', () => {
      clearInterval(timer);
      told.push({ type: 'live closed' });
    });
  } else if (request.method === 'POST') {
    let bytes = 0;
    told.push({ type: 'post begun' });
    request.on('data', (chunk) => {
      bytes += chunk.length;
    });
    request.on('aborted', () => told.push({ type: 'post aborted' }));
    request.on('end', () => {
      response.writeHead(202, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ bytes, type: request.headers['content-type'], path: request.url }));
    });
  } else {
    response.writeHead(404).end();
  }
});

const stats = (received) => ({
  ...{ received, processed: received, emitted: received, dropped: {}, fps: 0, queue: 0, service_ms_total: 0 },
  ...{ service_ms_p50: null, service_ms_p95: null, queue_ms_p50: null, queue_ms_p95: null },
  ...{ end_to_end_ms_p50: null, end_to_end_ms_p95: null, last_sequence: null, drops_seen: {}, ended: false },
});

const pong = (id) => ({
  type: 'pong',
  id,
  handlers: config.handlers.map((one) => ({
    ...{ handler_id: one.handler_id, state: running ? 'running' : 'ready', stats: stats(7), links: [] },
    ...{ settled: param('settled') ?? -1, busy_ms: one.handler_id * 10, at_work: null },
  })),
});

function configure(given) {
  const first = config === null;
  config = given;
  if (!first) return;
  if (param('print') !== undefined) console.log(param('print'));
  if (param('crash_at_start')) {
    console.error('cannot go on');
    process.exit(3);
  }
  if (param('never_ready')) return;
  if (param('fail')) {
    const problem = { type: 'x', title: 'x', status: 404, detail: param('fail'), code: 'MODEL_NOT_FOUND' };
    process.send({ type: 'failed', handler_id: config.handlers[0].handler_id, problem }, () => process.exit(1));
    return;
  }
  server.listen(config.socketPath, () => setTimeout(() => process.send({ type: 'ready' }), param('ready_ms') ?? 0));
}

function run() {
  running = true;
  if (param('crash_on_run')) setTimeout(() => process.exit(7), 50);
  for (let mb = 0; mb < (param('grow_mb') ?? 0); mb++) ballast.push(Buffer.alloc(1024 * 1024, 1));
  const row = { timestamp: 1, session_id: config.session_id, handler_id: config.handlers[0].handler_id };
  process.send({
    type: 'report',
    packet_info: [{ ...row, sequence: 1, event: 'start' }],
    profile: [],
    link_info: [],
    lost_rows: 0,
  });
}

process.on('message', (message, socket) => {
  told.push(message);
  if (message.type === 'configure') configure(message.config);
  else if (message.type === 'run') run();
  else if (message.type === 'ping' && !param('deaf')) process.send(pong(message.id));
  else if (message.type === 'drain') process.send({ type: 'drained' });
  else if (message.type === 'stop' && !param('ignore_stop')) process.exit(0);
  else if (message.type === 'link') {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: orchestrator-link/1\r\n\r\n');
    socket.write(JSON.stringify({ pid: process.pid, url: message.url, headers: message.headers }));
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('error', () => {});
    socket.resume();
  }
});
process.once('disconnect', () => process.exit(0));
