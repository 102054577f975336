/** Which coordinator a command talks to: --coordinator, ORCHESTRATOR_URL, the running `up` or `demo`, port 7000 here. */
import type { Command } from 'commander';
import type { CoordinatorClient } from '../client/index.js';
import { coordinatorFromEnvironment, tokenFromEnvironment } from '../config/environment.js';

/** Where a coordinator with the sample configuration listens. */
const DEFAULT = { host: '127.0.0.1', port: 7000 };

/** Runs `use` with a client that is closed afterwards. */
export async function withCoordinator<T>(command: Command, use: (client: CoordinatorClient) => Promise<T>): Promise<T> {
  // Imported here, as everything of weight in cli/: `--help` and usage errors should not wait for it.
  const { createCoordinatorClient, httpUrl } = await import('../client/index.js');
  const { runningCluster } = await import('../config/cluster-file.js');
  const { tlsCaFromEnvironment } = await import('../config/processes.js');
  const { coordinator } = command.optsWithGlobals<{ coordinator?: string }>();
  const named = coordinator ?? coordinatorFromEnvironment() ?? runningCluster()?.coordinator_url;
  const url = named ?? httpUrl(DEFAULT.host, DEFAULT.port);
  const client = createCoordinatorClient({ url, token: tokenFromEnvironment(), tlsCa: tlsCaFromEnvironment() });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}
