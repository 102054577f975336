/** The routes of probes: measure a path because the coordinator asks, and be the other end of one. */
import { ProbeRequestSchema, ProbeResultSchema, ProbeSinkAnswerSchema } from '../contracts/probe.js';
import type { LinkInfo } from '../contracts/report.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import type { PathProbe } from './path-probe.js';

export interface ProbeRoutesOptions {
  readonly probe: PathProbe;
  /** The controller's time. */
  readonly clock: Clock;
  /** Null: nobody has said yet who this node is, and nothing is reported. */
  nodeId(): number | null;
  report(row: LinkInfo): void;
}

export function probeRoutes(app: HttpServer, { probe, clock, nodeId, report }: ProbeRoutesOptions): void {
  app.post(
    '/v1/probes',
    {
      schema: {
        summary: 'Measure round trip and rate from this node to another; bounded in bytes and time',
        body: ProbeRequestSchema,
        response: { 200: ProbeResultSchema },
      },
    },
    async (request) => {
      const { target_node } = request.body;
      const { rtt_ms, mbit_per_s, bytes } = await probe.measure(request.body);
      const source_node = nodeId();
      if (source_node !== null) {
        const ends = { session_id: null, source_handler: null, target_handler: null, source_node, target_node };
        report({ timestamp: clock.now(), ...ends, packets: 0, bytes, latency_ms: null, rtt_ms, mbit_per_s });
      }
      return { rtt_ms, mbit_per_s, bytes };
    },
  );
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    (scope as unknown as HttpServer).post(
      '/v1/probes/sink',
      {
        schema: {
          summary: 'The other end of a probe: a body of any content',
          response: { 200: ProbeSinkAnswerSchema },
        },
      },
      async (request, reply) => {
        try {
          return await probe.sink(request.raw);
        } catch (error) {
          // What is refused has a body that nobody reads to its end.
          reply.header('connection', 'close');
          throw error;
        }
      },
    );
  });
}
