/** The coordinator's HTTP API: routes to calls, nothing else. Schemas are the contracts', and so is /openapi.json. */
import swagger from '@fastify/swagger';
import Type from '#vendor/typebox.js';
import {
  ClusterSnapshotSchema,
  CoordinatorHealthSchema,
  ExplanationSchema,
  HandlerTypeViewSchema,
  ServiceViewSchema,
} from '../client/answers.js';
import { ApplyRequestSchema, ApplyResultSchema } from '../contracts/apply.js';
import { EventSchema } from '../contracts/event.js';
import { FleetSnapshotSchema } from '../contracts/fleet.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { Service } from '../contracts/service.js';
import {
  MoveRequestSchema,
  SessionCreatedSchema,
  SessionRequestSchema,
  SessionViewSchema,
} from '../contracts/session.js';
import { createHttpServer, type HttpServer, type TlsIdentity } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { EVENTS_LIMIT_DEFAULT } from '../store/store.js';
import { accountRoutes } from './account-routes.js';
import type { Applier } from './applier.js';
import type { Drains } from './drains.js';
import type { EventLog } from './event-log.js';
import { EventStreams } from './event-stream.js';
import { explainSession } from './explain.js';
import type { Failover } from './failover.js';
import type { LinkProbes } from './link-probes.js';
import { linkRoutes } from './link-routes.js';
import type { LinkTable } from './link-table.js';
import { coordinatorMetrics, nodesByState, sessionsByState } from './metrics.js';
import type { NodePace } from './node-pace.js';
import type { NodeRegistry } from './node-registry.js';
import { nodeRoutes, nodeViews } from './node-routes.js';
import type { CoordinatorOptions } from './options.js';
import type { SessionService } from './session-service.js';
import type { SessionTable } from './session-table.js';
import { handlerTypeView, serviceView } from './views.js';

export interface HttpApiOptions {
  readonly token: string | null;
  readonly tls: TlsIdentity | null;
  readonly epoch: number;
  readonly sessions: SessionService;
  readonly table: SessionTable;
  readonly registry: NodeRegistry;
  readonly drains: Drains;
  readonly pace: Pick<NodePace, 'factorOf'>;
  readonly links: LinkTable;
  readonly probes: LinkProbes;
  readonly failover: Failover;
  readonly events: EventLog;
  readonly telemetry: CoordinatorOptions['telemetry'];
  readonly applier: Pick<Applier, 'apply'>;
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Events of one answer. */
const EVENTS_LIMIT_MAX = 10_000;

const Id = Type.Integer({ minimum: 0 });
const SessionPath = Type.Object({ session_id: Id });
const EventQuerySchema = Type.Object(
  {
    after: Type.Optional(Type.Number({ minimum: 0, description: 'Only events later than this, s since the epoch' })),
    session_id: Type.Optional(Id),
    node_id: Type.Optional(Id),
    limit: Type.Integer({ minimum: 1, maximum: EVENTS_LIMIT_MAX, default: EVENTS_LIMIT_DEFAULT }),
  },
  { additionalProperties: false },
);

export async function createHttpApi(options: HttpApiOptions): Promise<HttpServer> {
  const { token, tls, logger, events } = options;
  const app = createHttpServer({ token, tls, open: ['GET /v1/health'], logger });
  await app.register(swagger, {
    openapi: { info: { title: 'vision-orchestrator coordinator', version: 'v1' } },
  });
  const streams = new EventStreams(events);
  app.addHook('preClose', async () => streams.close());
  sessionRoutes(app, options);
  accountRoutes(app, options);
  clusterRoutes(app, options);
  nodeRoutes(app, options);
  linkRoutes(app, options);
  eventRoutes(app, options, streams);
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  return app;
}

function sessionRoutes(app: HttpServer, { sessions, table, registry }: HttpApiOptions): void {
  app.post(
    '/v1/sessions',
    {
      schema: {
        summary: 'Admit a session with a plan, or refuse it with the reasons',
        body: SessionRequestSchema,
        response: { 200: SessionCreatedSchema, 201: SessionCreatedSchema },
      },
    },
    async (request, reply) => {
      const created = await sessions.create(request.body);
      return reply.code(created.session_id === null ? 200 : 201).send(created);
    },
  );
  app.get(
    '/v1/sessions',
    {
      schema: {
        summary: 'Every session, newest ended ones included',
        response: { 200: Type.Array(SessionViewSchema) },
      },
    },
    async () => sessions.list(),
  );
  app.get(
    '/v1/sessions/:session_id',
    { schema: { summary: 'One session', params: SessionPath, response: { 200: SessionViewSchema } } },
    async (request) => sessions.get(request.params.session_id),
  );
  app.delete(
    '/v1/sessions/:session_id',
    { schema: { summary: 'Forget a session that does not run', params: SessionPath } },
    async (request, reply) => {
      await sessions.delete(request.params.session_id);
      return reply.code(204).send();
    },
  );
  app.post(
    '/v1/sessions/:session_id/start',
    { schema: { summary: 'Let frames flow', params: SessionPath, response: { 200: SessionViewSchema } } },
    async (request) => sessions.start(request.params.session_id),
  );
  app.post(
    '/v1/sessions/:session_id/stop',
    { schema: { summary: 'Drain and end', params: SessionPath, response: { 200: SessionViewSchema } } },
    async (request) => sessions.stop(request.params.session_id),
  );
  app.post(
    '/v1/sessions/:session_id/move',
    {
      schema: {
        summary: 'Move one handler to another node while frames flow; events tell how it ends',
        params: SessionPath,
        body: MoveRequestSchema,
        response: { 202: SessionViewSchema },
      },
    },
    async (request, reply) => reply.code(202).send(await sessions.move(request.params.session_id, request.body)),
  );
  app.get(
    '/v1/sessions/:session_id/explain',
    {
      schema: {
        summary: 'Why it is placed so, and what is measured against what was predicted',
        params: SessionPath,
        response: { 200: ExplanationSchema },
      },
    },
    async (request) => explainSession(await table.find(request.params.session_id), registry),
  );
}

function clusterRoutes(app: HttpServer, options: HttpApiOptions): void {
  const { table, sessions, applier, services, types, epoch, clock, registry } = options;
  const nodes = () => nodeViews(options);
  app.get(
    '/v1/services',
    { schema: { summary: 'Every loaded service', response: { 200: Type.Array(ServiceViewSchema) } } },
    async () => services.map(serviceView),
  );
  app.post(
    '/v1/services/apply',
    {
      schema: {
        summary: 'Roll a changed definition through the running sessions of its service; events tell how it ends',
        body: ApplyRequestSchema,
        response: { 200: ApplyResultSchema, 202: ApplyResultSchema },
      },
    },
    async (request, reply) => {
      const result = await applier.apply(request.body);
      return reply.code(request.body.dry_run ? 200 : 202).send(result);
    },
  );
  app.get(
    '/v1/handler-types',
    { schema: { summary: 'Every handler type', response: { 200: Type.Array(HandlerTypeViewSchema) } } },
    async () => types.all().map(handlerTypeView),
  );
  app.get(
    '/v1/snapshot',
    { schema: { summary: 'Everything at one moment', response: { 200: ClusterSnapshotSchema } } },
    async () => ({
      ...{ timestamp: clock.now(), epoch, nodes: nodes(), sessions: sessions.list() },
      fleet: table.fleet(),
    }),
  );
  app.get(
    '/v1/fleet',
    {
      schema: {
        summary: 'The snapshot that plans for many sessions are made from; `orchestrator plan` reads it',
        response: { 200: FleetSnapshotSchema },
      },
    },
    async () => table.fleet(),
  );
  app.get(
    '/v1/health',
    { schema: { summary: 'Whether the coordinator serves requests', response: { 200: CoordinatorHealthSchema } } },
    async () => ({
      ...{ status: 'ok', epoch, nodes: nodesByState(registry) },
      sessions: sessionsByState(table, registry) as Record<string, number>,
    }),
  );
  const metrics = coordinatorMetrics(options);
  app.get('/metrics', { schema: { summary: 'Figures for Prometheus' } }, async (_request, reply) =>
    reply
      .type(metrics.contentType)
      .serializer(String)
      .send(await metrics.metrics()),
  );
}

function eventRoutes(app: HttpServer, { events }: HttpApiOptions, streams: EventStreams): void {
  app.get(
    '/v1/events',
    {
      schema: {
        summary: 'The newest events, oldest first; with accept: text/event-stream, events as they happen',
        querystring: EventQuerySchema,
        response: { 200: Type.Array(EventSchema) },
      },
    },
    async (request, reply) => {
      const { after, limit, session_id, node_id } = request.query;
      if (request.headers.accept?.includes('text/event-stream') === true) {
        await streams.serve(reply, after);
        return reply;
      }
      const found = await events.list({ limit, since: after, session_id, node_id });
      return reply.send(after === undefined ? found : found.filter((event) => event.timestamp > after));
    },
  );
}
