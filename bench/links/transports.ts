/** Every transport of the links bench; the first is what the others are compared with. */
import { grpc } from './grpc.js';
import { nodeHttp, undici } from './http-peers.js';
import { link, linkInHost, linkUnix } from './our-link.js';
import { rawTcp } from './raw-tcp.js';
import type { Transport } from './transport.js';
import { webSocket } from './web-socket.js';

export const TRANSPORTS: readonly Transport[] = [rawTcp, link, linkUnix, linkInHost, nodeHttp, undici, grpc, webSocket];
