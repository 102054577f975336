/** What the database tells of one session's packets, running or ended. */
import Type from 'typebox';
import { OrchestratorError } from '../contracts/errors.js';
import { LossSchema } from '../contracts/loss.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import { sessionLoss } from './loss.js';
import type { CoordinatorOptions } from './options.js';
import type { SessionTable } from './session-table.js';

export interface AccountRoutesOptions {
  readonly table: SessionTable;
  readonly telemetry: CoordinatorOptions['telemetry'];
  readonly clock: Clock;
}

/** Rows of a session may be dated so long before it was made, s: clocks of nodes that are not yet corrected. */
const CLOCK_SLACK_S = 10;

const SessionPath = Type.Object({ session_id: Type.Integer({ minimum: 0 }) });
const Last = Type.Optional(
  Type.Number({ exclusiveMinimum: 0, description: 'Only what was decided in the last so many seconds' }),
);

export function accountRoutes(app: HttpServer, { table, telemetry, clock }: AccountRoutesOptions): void {
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

function database(telemetry: AccountRoutesOptions['telemetry']): NonNullable<AccountRoutesOptions['telemetry']> {
  if (telemetry !== null) return telemetry;
  throw new OrchestratorError('DATABASE_UNAVAILABLE', 'this coordinator reads no database of reports');
}
