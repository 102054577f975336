/** What the database tells of one session's packets, running or ended. */
import Type from '#vendor/typebox.js';
import { OrchestratorError } from '../contracts/errors.js';
import { LossSchema } from '../contracts/loss.js';
import { TraceSchema } from '../contracts/trace.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import { packetEvents } from '../store/report-rows.js';
import { sessionLoss } from './loss.js';
import type { CoordinatorOptions } from './options.js';
import { sinkIds } from './session-record.js';
import type { SessionTable } from './session-table.js';
import { traceSession } from './trace.js';

export interface AccountRoutesOptions {
  readonly table: SessionTable;
  readonly telemetry: CoordinatorOptions['telemetry'];
  readonly clock: Clock;
}

/** Rows of a session may be dated so long before it was made, s: clocks of nodes that are not yet corrected. */
const CLOCK_SLACK_S = 10;

const SessionPath = Type.Object({ session_id: Type.Integer({ minimum: 0 }) });
const Last = Type.Optional(
  Type.Number({ exclusiveMinimum: 0, description: 'Only what ended in the last so many seconds' }),
);

export function accountRoutes(app: HttpServer, options: AccountRoutesOptions): void {
  lossRoute(app, options);
  traceRoute(app, options);
}

function lossRoute(app: HttpServer, { table, telemetry, clock }: AccountRoutesOptions): void {
  app.get(
    '/v1/sessions/:session_id/loss',
    {
      schema: {
        summary: 'What became of every sequence: it always sums',
        params: SessionPath,
        querystring: Type.Object({ last: Last }, { additionalProperties: false }),
        response: { 200: LossSchema },
      },
    },
    async (request) => {
      const { stored } = await table.find(request.params.session_id);
      const now = clock.now();
      const since = request.query.last === undefined ? null : now - request.query.last;
      const { session_id, created_at } = stored;
      const query = { session_id, from: created_at - CLOCK_SLACK_S, since: since ?? undefined };
      const accounts = await database(telemetry).ledger(query);
      return sessionLoss({ stored, accounts, now, since });
    },
  );
}

/** Rows of packet_info that one trace reads: a minute of 8 handlers at 50 packets/s, about a second of the database's thread. */
const TRACE_ROWS_MAX = 100_000;
/** Events of one packet at one handler: recv, start, end, sent; more at forks and joins. */
const EVENTS_PER_HANDLER = 4;
const SLOWEST_MAX = 1000;

function traceRoute(app: HttpServer, { table, telemetry, clock }: AccountRoutesOptions): void {
  app.get(
    '/v1/sessions/:session_id/trace',
    {
      schema: {
        summary: 'Where the milliseconds of packets went, per handler and link',
        params: SessionPath,
        querystring: Type.Object(
          { last: Last, slowest: Type.Integer({ minimum: 0, maximum: SLOWEST_MAX, default: 10 }) },
          { additionalProperties: false },
        ),
        response: { 200: TraceSchema },
      },
    },
    async (request) => {
      const { stored } = await table.find(request.params.session_id);
      const { last, slowest } = request.query;
      const { session_id, plan, created_at } = stored;
      const since = last === undefined ? null : clock.now() - last;
      const handlers = plan.handlers.map((one) => one.handler_id);
      const sinks = sinkIds(plan);
      const { packets, truncated } = await database(telemetry).packets({
        ...{ session_id, handlers, sinks, from: created_at - CLOCK_SLACK_S, since: since ?? undefined },
        sequencesMax: Math.max(1, Math.floor(TRACE_ROWS_MAX / (EVENTS_PER_HANDLER * handlers.length))),
      });
      const events = packetEvents(packets);
      return traceSession({ session_id, plan: { ...plan, sinks }, events, since, slowest, truncated });
    },
  );
}

function database(telemetry: AccountRoutesOptions['telemetry']): NonNullable<AccountRoutesOptions['telemetry']> {
  if (telemetry !== null) return telemetry;
  throw new OrchestratorError('DATABASE_UNAVAILABLE', 'this coordinator reads no database of reports');
}
