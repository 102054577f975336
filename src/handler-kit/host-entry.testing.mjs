// A handler host with handlers for tests: a counter, a relay that can be slow or fail, and a sink that journals to a file.
// It runs the built program, because a forked process cannot read TypeScript.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runHandlerHost } from '../../dist/handler-kit/host.js';

const common = {
  aliases: [],
  description: '',
  params: null,
  cost: { cpu_ms: 1, gpu_ms: 0, mem_mb: 1, out_bytes: 1 },
  host: 'own',
};
const bytes = [{ name: 'in', accepts: ['bytes', 'jpeg'] }];
const textOf = (packet) => packet.payload.data.toString('latin1').trimEnd();

function count({ params }) {
  return {
    kind: 'source',
    async run(control) {
      while (control.nextSequence() < params.packets && !control.signal.aborted) {
        const data = Buffer.alloc(params.bytes ?? 20, ' ');
        data.write(String(control.nextSequence()), 'latin1');
        await control.emit({ type: 'bytes', data }, {});
        if (params.pause_ms) await sleep(params.pause_ms);
      }
    },
    close() {},
  };
}

function relay({ params, outputDir }) {
  // The first process that comes so far misbehaves, later ones do not.
  const isFirst = (name) => {
    const marker = join(outputDir, name);
    if (existsSync(marker)) return false;
    appendFileSync(marker, '');
    return true;
  };
  return {
    kind: 'processing',
    async process([packet]) {
      if (params.pause_ms) await sleep(params.pause_ms);
      if (params.hang_at === packet.sequence) await new Promise(() => {});
      if (params.hang_once_at === packet.sequence && isFirst('hung')) await new Promise(() => {});
      if (params.spin_once_at === packet.sequence && isFirst('spun')) for (;;);
      if (params.reject_at === packet.sequence) {
        Promise.reject(new Error('nobody waits for this'));
        await new Promise(() => {});
      }
      if (params.throw_at === packet.sequence) throw new Error(`no ${packet.sequence}`);
      if (params.crash_at === packet.sequence)
        setImmediate(() => {
          throw new Error('the process ends');
        });
      return { outputs: [{ type: 'bytes', data: packet.payload.data }] };
    },
    close() {},
  };
}

function journal({ outputDir, handler_name }) {
  const path = join(outputDir, `${handler_name}.txt`);
  const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  const write = (line) => appendFileSync(path, `${line}\n`);
  return {
    kind: 'processing',
    committed: lines.length - 1,
    process([packet]) {
      write(`${packet.sequence} ${textOf(packet)}`);
      return { outputs: [] };
    },
    dropped: (packet) => write(`${packet.sequence} ${packet.reason} ${packet.handler_id}`),
    ended: () => write('end'),
    page(name, _request, response) {
      response.end(`page ${name}`);
    },
    close() {},
  };
}

const manifest = (handler_type_id, handler_type_name, inputs, outputs, create) => ({
  ...common,
  handler_type_id,
  handler_type_name,
  inputs,
  outputs,
  load: async () => ({
    create: async (context) => {
      if (context.params.refuse) throw new Error(context.params.refuse);
      return create(context);
    },
  }),
});

runHandlerHost([
  manifest(100, 'count', [], [{ name: 'out', emits: 'bytes' }], count),
  manifest(101, 'relay', bytes, [{ name: 'out', emits: 'bytes' }], relay),
  manifest(102, 'journal', bytes, [], journal),
]);
