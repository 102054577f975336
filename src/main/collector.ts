/** A collector from its configuration file, over the database that the coordinator reads profiles from. */
import { createCollector } from '../collector/collector.js';
import { loadCollectorConfig } from '../config/processes.js';
import { systemClock } from '../std/clock.js';
import { TELEMETRY_RETENTION } from '../store/store.js';
import { type DaemonOptions, runDaemon } from './daemon.js';
import { openTelemetryStore } from './database.js';
import { loadNodes } from './resources.js';

export async function runCollector(file: string, options: DaemonOptions): Promise<void> {
  const config = loadCollectorConfig(file);
  await runDaemon('collector', options, async (logger) => {
    const store = await openTelemetryStore(config.database, logger);
    try {
      const collector = await createCollector({
        ...config.listen,
        nodes: loadNodes(config.nodePath, logger),
        store,
        token: config.token,
        tls: config.tls.identity,
        insecure: options.insecure,
        retention: { ...TELEMETRY_RETENTION, ...config.retention },
        clock: systemClock(),
        logger,
      });
      return { url: collector.address.url, close: () => collector.close().finally(() => store.close()) };
    } catch (error) {
      await store.close();
      throw error;
    }
  });
}
