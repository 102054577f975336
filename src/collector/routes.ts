/** The collector's HTTP API: the reference's `POST /`, and ours under /v1. */
import Type from '#vendor/typebox.js';
import { REPORT_BODY_BYTES_MAX } from '../contracts/limits.js';
import type { ReferenceAnswer } from '../contracts/report.js';
import { decodeReport, REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import { SeriesQuerySchema } from '../contracts/series.js';
import { acceptAnyJson } from '../http-server/bodies.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import type { TelemetryStore } from '../store/store.js';
import type { Ingest } from './ingest.js';
import type { CollectorMetrics } from './metrics.js';

export interface CollectorRoutesOptions {
  readonly ingest: Ingest;
  readonly store: TelemetryStore;
  readonly metrics: CollectorMetrics;
  readonly clock: Clock;
}

/** A longer statement is not one that a person wrote. */
const SQL_STATEMENT_CHARS_MAX = 100_000;

const SqlRequestSchema = Type.Object(
  { statement: Type.String({ minLength: 1, maxLength: SQL_STATEMENT_CHARS_MAX }) },
  { additionalProperties: false },
);

const ProfilesQuerySchema = Type.Object({
  since: Type.Number({ minimum: 0, default: 0, description: 'Samples not older than this, s since the epoch' }),
});

export function collectorRoutes(app: HttpServer, { ingest, store, metrics, clock }: CollectorRoutesOptions): void {
  app.register(async (scope) => reportRoute(scope as HttpServer, ingest));
  app.get('/v1/health', async () => ({ ...ingest.health(), report_types: ['application/json', REPORT_COLUMNS_TYPE] }));
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  app.post('/v1/sql', { schema: { body: SqlRequestSchema } }, async (request) => store.sql(request.body.statement));
  app.get('/v1/profiles', { schema: { querystring: ProfilesQuerySchema } }, async (request) =>
    store.profiles(request.query.since),
  );
  app.get('/v1/series', { schema: { querystring: SeriesQuerySchema } }, async (request) =>
    store.series(request.query, clock.now()),
  );
}

/** Failures have the status of the catalogue and the reference's body: a reference reporter reads `result` only. */
function reportRoute(scope: HttpServer, ingest: Ingest): void {
  acceptAnyJson(scope, { bodyBytesMax: REPORT_BODY_BYTES_MAX, others: { [REPORT_COLUMNS_TYPE]: decodeReport } });
  scope.addHook('onRequest', async () => ingest.refuseWhenFull());
  scope.addHook('onError', async (_request, _reply, error) => ingest.failed(error));
  const succeeded: ReferenceAnswer = { result: 'Succeeded' };
  scope.post('/', { config: { answers: 'reference' } }, (request): Promise<ReferenceAnswer> => {
    const stored = ingest.take(request.body, request.socket.remoteAddress ?? '');
    // What was read is not kept while the database writes (see take).
    request.body = undefined;
    return stored.then(() => succeeded);
  });
}
