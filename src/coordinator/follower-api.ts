/** What a coordinator answers that does not lead: that it is there, and where the one is that leads. */
import { CoordinatorHealthSchema } from '../client/answers.js';
import { OrchestratorError } from '../contracts/errors.js';
import { createHttpServer, type HttpServer, type TlsIdentity } from '../http-server/http-server.js';
import type { Logger } from '../std/logger.js';

export interface FollowerApiOptions {
  readonly token: string | null;
  readonly tls: TlsIdentity | null;
  readonly logger: Logger;
  /** Where the leader is; null when nobody leads. */
  leader(): string | null;
}

/** When a client that knows no leader should ask again, s. */
const RETRY_AFTER_S = 1;

export function createFollowerApi({ token, tls, logger, leader }: FollowerApiOptions): HttpServer {
  const app = createHttpServer({ token, tls, open: ['GET /v1/health'], logger });
  app.get(
    '/v1/health',
    { schema: { summary: 'Whether the coordinator is there', response: { 200: CoordinatorHealthSchema } } },
    async () => ({ status: 'follower', epoch: 0, nodes: {}, sessions: {}, leader: leader() }),
  );
  app.all('/*', async (_request, reply) => {
    const url = leader();
    reply.header('retry-after', RETRY_AFTER_S);
    const where = url === null ? 'no coordinator leads now' : `the coordinator at ${url} leads`;
    throw new OrchestratorError('NOT_LEADER', where, { leader: url });
  });
  return app;
}
