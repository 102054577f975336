/**
 * The product's own link with everything on: sender and receiver over the real handshake, acks and credits, a deadline
 * on every packet, a telemetry row at each end (flushed to the parent as a host flushes to its agent), and the meter.
 * Saturation runs under `all` (nothing may be dropped for speed), the paced flow under `latest`. Who receives is done with
 * a packet at once and gives its memory back, as the handlers do that decode, encode and resize.
 */
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Delivery } from '#src/contracts/packet.js';
import { linkPath, REPORT_FLUSH_MS } from '#src/handler-kit/host-protocol.js';
import { Telemetry } from '#src/handler-kit/telemetry.js';
import type { SocketAddress } from '#src/links/handshake.js';
import type { Arrival, Dial, LinkPacket } from '#src/links/link.js';
import { LinkReceiver } from '#src/links/link-receiver.js';
import { LinkSender } from '#src/links/link-sender.js';
import { memoryDial } from '#src/links/memory-link.js';
import { acceptLink, socketDial } from '#src/links/upgrade.js';
import { systemClock } from '#src/std/clock.js';
import { CorrectedClock } from '#src/std/corrected-clock.js';
import { silentLogger } from '#src/std/logger.js';
import type { Arrived, Pace, SendingEnd, Transport } from './transport.js';

/** A host's clock: the machine's, corrected by its agent. */
const clock = new CorrectedClock(systemClock());
const SESSION = 1;
/** Far enough that nothing is late: what is measured is the check. */
const DEADLINE_S = 10;
const DELIVERY: Record<Pace, Delivery> = { saturated: 'all', paced: 'latest' };
const PACES = ['saturated', 'paced'] as const;

const linkOf = (pace: Pace) => ({
  ...{ source_handler: PACES.indexOf(pace) + 1, source_output: 0, target_handler: 9, target_input: 0 },
});
const pathOf = (pace: Pace) => linkPath(SESSION, linkOf(pace));

/** Rows leave the process every half second, as a handler host's do. */
function telemetry(): Telemetry {
  const rows = new Telemetry({ session_id: SESSION, clock });
  setInterval(() => {
    const report = rows.flush([], []);
    if (report !== null) process.send?.(report);
  }, REPORT_FLUSH_MS).unref();
  return rows;
}

class Senders {
  readonly #rows = telemetry();
  readonly #sequences: Record<Pace, number> = { saturated: 0, paced: 0 };
  readonly #senders: Record<Pace, LinkSender>;

  constructor() {
    const make = (pace: Pace) =>
      new LinkSender({
        handlerId: 1,
        delivery: DELIVERY[pace],
        clock,
        onSent: (packet, bytes) => this.#rows.event(1, packet.sequence, 'sent', bytes),
      });
    this.#senders = { saturated: make('saturated'), paced: make('paced') };
  }

  at(path: string): LinkSender | undefined {
    const pace = PACES.find((one) => pathOf(one) === path);
    return pace === undefined ? undefined : this.#senders[pace];
  }

  end(address: string): SendingEnd {
    return {
      address,
      send: (data, stampMs, pace) => {
        const sequence = this.#sequences[pace]++;
        const sender = this.#senders[pace];
        const payload = { type: 'bytes', data } as const;
        const deadline = clock.now() + DEADLINE_S;
        sender.send({ kind: 'data', sequence, timestamp: stampMs, deadline, payload, metadata: {} });
        return sender.room();
      },
    };
  }
}

function receiveAll(dialOf: (pace: Pace) => Dial, arrived: Arrived): Promise<{ address: string }> {
  const rows = telemetry();
  for (const pace of PACES) {
    const onPacket = (packet: LinkPacket, arrival: Arrival | null): void => {
      if (packet.kind === 'data' && packet.payload.type === 'bytes') {
        rows.event(9, packet.sequence, 'recv', arrival?.bytes);
        arrived(packet.timestamp, packet.payload.data.length);
        arrival?.release?.();
      }
      receiver.settle(packet.sequence);
    };
    const receiver: LinkReceiver = new LinkReceiver({
      link: linkOf(pace),
      delivery: DELIVERY[pace],
      clock,
      logger: silentLogger,
      dial: dialOf(pace),
      generation: 0,
      settled: null,
      onPacket,
    });
    receiver.start();
  }
  return Promise.resolve({ address: '' });
}

function overSockets(name: string, unix: boolean): Transport {
  return {
    name,
    listens: 'sender',
    async send() {
      const senders = new Senders();
      const server = createServer();
      server.on('upgrade', (request, socket, head) => {
        const sender = senders.at(request.url ?? '');
        if (sender === undefined) socket.destroy();
        else acceptLink({ socket: socket as Socket, headers: request.headers, head, sender, clock });
      });
      const path = join(tmpdir(), `orchestrator-bench-${process.pid}.sock`);
      await new Promise<void>((resolve) => {
        if (unix) server.listen(path, resolve);
        else server.listen(0, '127.0.0.1', resolve);
      });
      if (unix) process.on('exit', () => rmSync(path, { force: true }));
      return senders.end(unix ? path : `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    },
    receive(at, arrived) {
      const address: SocketAddress = unix ? { kind: 'unix', path: at } : { kind: 'http', url: at };
      return receiveAll((pace) => socketDial({ address, path: pathOf(pace), token: null, clock }), arrived);
    },
  };
}

export const link: Transport = overSockets('link', false);
export const linkUnix: Transport = overSockets('link, Unix socket', true);

let inHost: Senders | null = null;
export const linkInHost: Transport = {
  name: 'link, in host by reference',
  listens: 'sender',
  oneProcess: true,
  async send() {
    inHost = new Senders();
    return inHost.end('in host');
  },
  receive: (_, arrived) => receiveAll((pace) => memoryDial({ find: () => inHost?.at(pathOf(pace)), clock }), arrived),
};
