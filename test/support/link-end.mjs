// One end of a link in a process of its own, to be killed at any moment: `source` counts up to `packets` from where it
// knows all to be settled (its checkpoint file), `sink` journals each sequence to a file before it settles it.
// usage: node link-end.mjs JSON of { role, delivery, listen | address, dir, packets, bytes, seed, keepAlive }
// It runs the built program, as handler hosts do. Tells its state by IPC.
import { appendFileSync, existsSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LinkReceiver } from '../../dist/links/link-receiver.js';
import { LinkSender } from '../../dist/links/link-sender.js';
import { acceptLink, socketDial } from '../../dist/links/upgrade.js';
import { systemClock } from '../../dist/std/clock.js';
import { silentLogger } from '../../dist/std/logger.js';
import { seededRandom } from '../../dist/std/prng.js';

const LINK = { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 };
const LINK_PATH = '/v1/sessions/1/handlers/1/outputs/0/links/2.0';
/** Packets that a live source makes in a millisecond: as many as may wait, so that most are delivered. */
const PER_MS = 4;
const STATE_PERIOD_MS = 20;
const clock = systemClock();

function contentOf(sequence, bytes) {
  const data = Buffer.alloc(8 + bytes, sequence & 0xff);
  data.writeDoubleLE(sequence, 0);
  return data;
}

async function source({ delivery, listen, dir, packets, bytes, seed, keepAlive }) {
  const file = join(dir, 'checkpoint');
  // Empty when its process was killed before it had written anything.
  const settled = existsSync(file) ? Number(readFileSync(file, 'utf8') || -1) : -1;
  const checkpoint = openSync(file, 'a+') && openSync(file, 'r+');
  const sender = new LinkSender({
    ...{ handlerId: 1, delivery, clock, settled },
    // Of one width, so that a write in place never leaves a part of another.
    onSettled: (sequence) => writeSync(checkpoint, String(sequence).padStart(16), 0),
  });
  const server = createServer();
  server.on('upgrade', ({ headers }, socket, head) => acceptLink({ socket, headers, head, sender, clock, keepAlive }));
  if (listen.path !== undefined) rmSync(listen.path, { force: true });
  server.listen(listen);
  tell(() => ({ connected: sender.connected, settled: sender.settled }));
  const random = seededRandom(seed);
  for (let sequence = settled + 1; sequence < packets; sequence++) {
    await sender.room();
    if (delivery === 'latest' && sequence % PER_MS === 0) await sleep(1);
    const data = contentOf(sequence, Math.floor(random() * (random() < 0.02 ? 30 * bytes : bytes)));
    sender.send(packetOf('data', sequence, { payload: { type: 'bytes', data }, metadata: {} }));
  }
  await sender.room();
  sender.send(packetOf('end', packets));
}

function packetOf(kind, sequence, more = {}) {
  return { kind, sequence, timestamp: clock.now(), deadline: 0, ...more };
}

function sink({ delivery, address, dir, keepAlive }) {
  const file = join(dir, 'journal');
  const journal = openSync(file, 'a+');
  const write = (line) => appendFileSync(journal, `${line}\n`);
  const receiver = new LinkReceiver({
    ...{ link: LINK, delivery, clock, logger: silentLogger, generation: 0, settled: lastSequence(journal) },
    dial: socketDial({ address, path: LINK_PATH, token: null, clock, keepAlive }),
    onPacket: (packet) => {
      if (packet.kind === 'end') write('end');
      else
        for (let one = packet.first ?? packet.sequence; one <= packet.sequence; one++) write(`${one} ${what(packet)}`);
      receiver.settle(packet.sequence);
    },
  });
  receiver.start();
  tell(() => ({ connected: receiver.connected, problem: receiver.problem }));
}

function what(packet) {
  if (packet.kind !== 'data') return packet.reason ?? packet.kind;
  const { data } = packet.payload;
  return data.equals(contentOf(packet.sequence, data.length - 8)) ? 'delivered' : 'torn';
}

/** Of the journal's last line, but for the end; -1 when there is none. */
function lastSequence(journal) {
  const { size } = fstatSync(journal);
  const tail = Buffer.alloc(Math.min(size, 200));
  readSync(journal, tail, 0, tail.length, size - tail.length);
  const lines = tail
    .toString()
    .split('\n')
    .filter((line) => /^\d+ /.test(line));
  return lines.length === 0 ? -1 : Number(lines.at(-1).split(' ')[0]);
}

function tell(state) {
  setInterval(() => process.send?.(state(), () => {}), STATE_PERIOD_MS);
}

process.once('disconnect', () => process.exit(0));
const options = JSON.parse(process.argv[2]);
await (options.role === 'source' ? source(options) : sink(options));
