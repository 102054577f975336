/**
 * Links whose receiver dials the sender, the usual way. The receiver may join more connections to the one it has
 * (`x-link-group`, `x-link-stripe`), and does when the path is long or loses packets.
 */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { Clock } from '../std/clock.js';
import { type DialOptions, dialLane, dialSocket, type Lanes } from './dialled-socket.js';
import { FrameSocket, KEEP_ALIVE, type KeepAlive } from './frame-socket.js';
import {
  checkProtocol,
  helloHeaders,
  helloOf,
  type LinkHeaders,
  numberHeader,
  type OwnHeaders,
  refuseUpgrade,
  switchingText,
  type UpgradeRequest,
} from './handshake.js';
import { IncomingLanes } from './incoming-lanes.js';
import type { Dial, LinkTransport } from './link.js';
import type { LinkSender } from './link-sender.js';
import { OutgoingLanes } from './outgoing-lanes.js';
import { LINK_STRIPES_MAX } from './stripe-policy.js';

/** Longest name of a group that is taken, characters. */
const GROUP_CHARS_MAX = 64;

export interface ServedSocket {
  readonly socket: Socket;
  readonly headers: LinkHeaders;
  /** Bytes that came behind the request. */
  readonly head: Buffer;
  readonly clock: Clock;
  readonly keepAlive?: KeepAlive | undefined;
}

export interface AcceptOptions extends ServedSocket {
  readonly sender: LinkSender;
}

/** Serving end: answers a receiver's request and gives the connection to `sender`. Refuses with HTTP when it will not. */
export function acceptLink(options: AcceptOptions): void {
  const { socket, headers, sender, clock } = options;
  try {
    checkProtocol(headers);
    const group = groupOf(headers);
    if (numberHeader(headers, 'x-link-stripe') > 0) {
      joinLane(options, group);
      return;
    }
    // Read only when the sender knows the channel: what came behind the request may already close it.
    let begin = (): void => {};
    sender.attach(helloOf(headers), (events) => {
      const lanes = new OutgoingLanes({ transport: transportOf(socket), group, clock, events });
      begin = openLane(options, lanes, { 'x-link-settled': sender.settled, 'x-link-stripes': LINK_STRIPES_MAX });
      return lanes;
    });
    begin();
  } catch (error) {
    refuseUpgrade(socket, toOrchestratorError(error));
  }
}

function joinLane(options: AcceptOptions, group: string): void {
  const { channel } = options.sender;
  if (!(channel instanceof OutgoingLanes)) {
    throw new OrchestratorError('LINK_PROTOCOL', `no connection of group ${group} is open`);
  }
  channel.checkJoin(group);
  openLane(options, channel, {})();
}

/** Answers 101; what is returned begins to read. */
export function openLane(
  { socket, head, keepAlive = KEEP_ALIVE }: ServedSocket,
  lanes: Lanes,
  answer: OwnHeaders,
): () => void {
  socket.write(switchingText(answer));
  const frames = lanes.add((events) => new FrameSocket({ ...events, socket, keepAlive }));
  frames.speak();
  return () => frames.read(head);
}

export function transportOf(socket: Socket): LinkTransport {
  return socket.remoteAddress === undefined ? 'unix' : 'tcp';
}

export function groupOf(headers: LinkHeaders): string {
  const group = String(headers['x-link-group'] ?? '');
  if (group.length <= GROUP_CHARS_MAX) return group;
  throw new OrchestratorError('LINK_PROTOCOL', `x-link-group has ${group.length} characters, over ${GROUP_CHARS_MAX}`);
}

export interface SocketDialOptions extends Omit<UpgradeRequest, 'headers'>, Pick<DialOptions, 'keepAlive' | 'tlsCa'> {
  readonly clock: Clock;
}

/** Dialling end: the receiver's. */
export function socketDial(options: SocketDialOptions): Dial {
  return (hello, events) => {
    const { clock, address } = options;
    const group = randomUUID();
    let stripesMax = 1;
    const lanes = new IncomingLanes({
      transport: address.kind === 'unix' ? 'unix' : 'tcp',
      ...{ group, clock, events },
      ...(address.kind === 'unix' ? {} : { more: () => lanes.size < stripesMax && dialStripe(options, lanes, group) }),
    });
    lanes.add((laneEvents) =>
      dialSocket({
        ...options,
        headers: { ...helloHeaders(hello), 'x-link-group': group },
        events: laneEvents,
        onOpen: (headers) => {
          stripesMax = Math.min(LINK_STRIPES_MAX, numberHeader(headers, 'x-link-stripes'));
          events.open(numberHeader(headers, 'x-link-settled'));
        },
        ...(address.kind === 'unix' ? {} : { onThroughput: (mbitPerS) => events.throughput?.(mbitPerS) }),
      }),
    );
    return lanes;
  };
}

/** One more connection; when the sender will not have it, the link goes on with those that it has. */
function dialStripe(options: SocketDialOptions, lanes: IncomingLanes, group: string): void {
  dialLane({
    ...options,
    headers: { 'x-link-group': group, 'x-link-stripe': lanes.size },
    onOpen: (_, join) => join(lanes),
    onFailed: () => {},
  });
}
