/** Which coordinator a command talks to: --coordinator, ORCHESTRATOR_URL, the running `up` or `demo`, port 7000 here. */
import type { Command } from 'commander';
import { type CoordinatorClient, createCoordinatorClient, httpUrl } from '../client/index.js';
import { runningCluster } from '../config/cluster-file.js';
import { coordinatorFromEnvironment, tokenFromEnvironment } from '../config/environment.js';

const DEFAULT_URL = httpUrl('127.0.0.1', 7000);

export function coordinatorUrl(command: Command): string {
  const { coordinator } = command.optsWithGlobals<{ coordinator?: string }>();
  return coordinator ?? coordinatorFromEnvironment() ?? runningCluster()?.coordinator_url ?? DEFAULT_URL;
}

/** Runs `use` with a client that is closed afterwards. */
export async function withCoordinator<T>(command: Command, use: (client: CoordinatorClient) => Promise<T>): Promise<T> {
  const client = createCoordinatorClient({ url: coordinatorUrl(command), token: tokenFromEnvironment() });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}
