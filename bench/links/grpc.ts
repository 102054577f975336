/** grpc-js at its best: one client stream for all packets, bytes passed on without a protobuf message around them. */
import {
  Client,
  type ClientWritableStream,
  credentials,
  type handleClientStreamingCall,
  Server,
  ServerCredentials,
} from '@grpc/grpc-js';
import { type SendingEnd, stamped, type Transport } from './transport.js';

const PATH = '/bench/Packets';
const asIs = (bytes: Buffer): Buffer => bytes;

export const grpc: Transport = {
  name: '@grpc/grpc-js, one stream',
  listens: 'receiver',
  async receive(_, arrived) {
    const server = new Server();
    const take: handleClientStreamingCall<Buffer, Buffer> = (call, done) => {
      call.on('data', (data: Buffer) => arrived(data.readDoubleLE(0), data.length));
      call.on('end', () => done(null, Buffer.alloc(0)));
    };
    server.addService(
      {
        packets: {
          ...{ path: PATH, requestStream: true, responseStream: false },
          ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
        },
      },
      { packets: take },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return { address: `127.0.0.1:${port}` };
  },
  async send(address): Promise<SendingEnd> {
    const client = new Client(address, credentials.createInsecure());
    const call: ClientWritableStream<Buffer> = client.makeClientStreamRequest(PATH, asIs, asIs, () => {});
    call.on('error', () => {});
    return {
      address: '',
      send(data, stampMs) {
        if (call.write(stamped(data, stampMs))) return undefined;
        return new Promise<void>((resolve) => call.once('drain', () => resolve()));
      },
    };
  },
};
