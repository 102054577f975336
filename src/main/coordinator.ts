/** A coordinator from its configuration file: state and profiles are in the one database. */
import { loadCoordinatorConfig } from '../config/processes.js';
import { createController } from '../coordinator/index.js';
import { systemClock } from '../std/clock.js';
import { findAllocator } from './allocators.js';
import { type DaemonOptions, runDaemon } from './daemon.js';
import { openStateStore, openTelemetryStore } from './database.js';
import { loadResources } from './resources.js';

export async function runCoordinator(file: string, options: DaemonOptions): Promise<void> {
  const config = loadCoordinatorConfig(file);
  await runDaemon('coordinator', options, async (logger) => {
    const resources = loadResources(config, logger);
    const allocator = await findAllocator(config.allocator);
    const state = await openStateStore(config.database, logger);
    const telemetry = await openTelemetryStore(config.database, logger);
    const close = async () => {
      await Promise.all([state.close(), telemetry.close()]);
    };
    try {
      const coordinator = await createController({
        ...config.listen,
        ...resources,
        token: config.token,
        tls: config.tls.identity,
        tlsCa: config.tls.ca,
        insecure: options.insecure,
        advertisedUrl: config.advertisedUrl,
        allocator,
        loopRules: config.loopRules,
        bounds: { linkProbePeriodMs: config.linkProbePeriodS * 1000 },
        state,
        telemetry,
        clock: systemClock(),
        logger,
      });
      return { url: coordinator.address.url, close: () => coordinator.close().finally(close) };
    } catch (error) {
      await close();
      throw error;
    }
  });
}
