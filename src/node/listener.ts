/**
 * The HTTP API of a node agent: facts and sessions for the coordinator, the reference's `POST /`, and, passed on to the
 * handler hosts, links, posted packets and pages.
 */
import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from '#vendor/typebox.js';
import { NodeSessionSchema } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import { HintsQuerySchema, NodeHintsSchema } from '../contracts/hint.js';
import { CONTROL_BODY_BYTES_MAX } from '../contracts/limits.js';
import { HeartbeatQuerySchema, HeartbeatSchema, ObservedSessionSchema } from '../contracts/node.js';
import type { LinkInfo } from '../contracts/report.js';
import { schemaFaults } from '../contracts/schema.js';
import { acceptAnyJson } from '../http-server/bodies.js';
import { createHttpServer, type HttpServer, type TlsIdentity } from '../http-server/http-server.js';
import type { Logger } from '../std/logger.js';
import { CpuLoad } from './cpu-load.js';
import type { FactsSource } from './facts.js';
import type { HeldUpgrades } from './held-upgrades.js';
import type { Hints } from './hints.js';
import { proxyToHost } from './host-proxy.js';
import { linkUpgrades } from './link-upgrade.js';
import type { NodeClock } from './node-clock.js';
import { PathProbe } from './path-probe.js';
import { probeRoutes } from './probe-routes.js';
import { type ReferenceActionsOptions, referenceAction } from './reference-actions.js';
import type { SessionManager } from './session-manager.js';
import { RxPorts } from './tx-rx.js';

export interface ListenerOptions extends Omit<ReferenceActionsOptions, 'rxPorts' | 'isTls'> {
  readonly facts: FactsSource;
  readonly sessions: SessionManager;
  readonly held: HeldUpgrades;
  readonly hints: Hints;
  readonly token: string | null;
  readonly tls?: TlsIdentity | null | undefined;
  readonly tlsCa?: string | undefined;
  readonly clock: NodeClock;
  report(row: LinkInfo): void;
  readonly logger: Logger;
}

const Id = Type.Integer({ minimum: 0 });
const SessionPath = Type.Object({ session_id: Id });
const InputPath = Type.Object({ session_id: Id, handler_id: Id, input: Id });
const PagePath = Type.Object({ session_id: Id, handler_id: Id });

export async function createListener(options: ListenerOptions): Promise<HttpServer> {
  const { sessions, held, hints, facts, token, clock, logger } = options;
  const load = new CpuLoad(clock.machine);
  const app = createHttpServer({
    ...{ token, open: ['/v1/health'], bodyLimit: CONTROL_BODY_BYTES_MAX, logger },
    tls: options.tls ?? null,
  });
  app.server.on('upgrade', linkUpgrades({ sessions, held, token, logger }));
  const tls = options.tls ?? null;
  const host = () => (app.server.address() as AddressInfo).address;
  const rxPorts = new RxPorts({ sessions, held, token, tls, host, logger });
  app.addHook('onClose', async () => rxPorts.closeAll());

  await app.register(swagger, { openapi: { info: { title: 'vision-orchestrator node agent', version: 'v1' } } });

  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());

  app.get('/v1/health', { schema: { summary: 'Whether the agent serves requests' } }, async () => ({ status: 'ok' }));

  app.get(
    '/v1/node',
    {
      schema: {
        summary: 'Heartbeat: facts of the machine and the sessions of the coordinator',
        querystring: HeartbeatQuerySchema,
        response: { 200: HeartbeatSchema },
      },
    },
    async (request) => {
      sessions.see(request.query.epoch ?? 0);
      if (clock.learn(request.query, sessions.epoch)) sessions.clockCorrected();
      return {
        facts: facts.read(sessions.nodeId),
        timestamp: clock.machine.now(),
        clock_correction_ms: clock.corrected.correction.atMs,
        cpu_util: load.read(),
        epoch: sessions.epoch,
        sessions: sessions.observe('coordinator'),
      };
    },
  );

  app.get(
    '/v1/node/hints',
    {
      schema: {
        summary: 'Waits for a reason to ask for a heartbeat: a session changed its state, or a link to a node was cut',
        querystring: HintsQuerySchema,
        response: { 200: NodeHintsSchema },
      },
    },
    (request) => hints.wait(request.query),
  );

  app.get(
    '/v1/sessions',
    { schema: { summary: 'Every session of this node', response: { 200: Type.Array(ObservedSessionSchema) } } },
    async () => sessions.observe(),
  );

  app.put(
    '/v1/sessions/:session_id',
    {
      schema: {
        summary: 'What is wanted of a session on this node; idempotent. Goes on after the answer: poll /v1/node',
        params: SessionPath,
        body: NodeSessionSchema,
        response: { 202: ObservedSessionSchema },
      },
    },
    async (request, reply) => {
      const { session_id } = request.params;
      if (request.body.session_id !== session_id) {
        const message = `session_id ${request.body.session_id} in the body is not the ${session_id} of the address`;
        throw new OrchestratorError('REQUEST_INVALID', message);
      }
      return reply.code(202).send(sessions.put(request.body));
    },
  );

  app.delete(
    '/v1/sessions/:session_id',
    {
      schema: {
        summary: 'Drains, ends and forgets a session. Goes on after the answer',
        params: SessionPath,
        querystring: Type.Object({ epoch: Id }),
        response: { 202: ObservedSessionSchema },
      },
    },
    async (request, reply) => reply.code(202).send(sessions.remove(request.params.session_id, request.query.epoch)),
  );

  app.register(async (scope) => {
    acceptAnyJson(scope as unknown as HttpServer, { bodyBytesMax: CONTROL_BODY_BYTES_MAX });
    scope.post(
      '/',
      { config: { answers: 'reference' }, schema: { summary: "The reference's init, start, stop and delete" } },
      (request) => referenceAction(request.body, { ...options, rxPorts, isTls: tls !== null }),
    );
  });

  // Checks are compiled when they are first needed, and the first order may be to take over from a node that died.
  app.addHook('onListen', async () => void schemaFaults(NodeSessionSchema, {}));

  const nodeId = () => sessions.nodeId;
  const probe = new PathProbe({ token, tlsCa: options.tlsCa, now: () => clock.machine.monotonicMs() });
  probeRoutes(app, { probe, clock: clock.corrected, nodeId, report: options.report });

  app.register(async (scope) => handlerRoutes(scope as unknown as HttpServer, sessions));
  return app;
}

/** Bodies of any type and length pass through unread. */
function handlerRoutes(scope: HttpServer, sessions: SessionManager): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));

  const pass = async (
    request: FastifyRequest,
    reply: FastifyReply,
    path: { session_id: number; handler_id: number },
  ) => {
    const { socketPath } = sessions.servingHost(path.session_id, path.handler_id);
    const what = `handler ${path.handler_id} of session ${path.session_id}`;
    await proxyToHost(request, reply, { socketPath, what });
    return reply;
  };

  scope.post(
    '/v1/sessions/:session_id/handlers/:handler_id/inputs/:input',
    {
      schema: {
        summary: 'One packet for an input that has no link: `curl --data-binary @face.jpg`',
        params: InputPath,
      },
    },
    (request, reply) => pass(request, reply, request.params),
  );

  scope.get(
    '/v1/sessions/:session_id/handlers/:handler_id/pages/*',
    { schema: { summary: 'What a handler shows of itself, for example its newest frame', params: PagePath } },
    (request, reply) => pass(request, reply, request.params),
  );
}
