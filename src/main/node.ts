/** A node agent from its configuration file. */
import { pickEnvironment } from '../config/environment.js';
import { loadNodeConfig } from '../config/processes.js';
import { createNodeAgent, HOST_ENVIRONMENT } from '../node/index.js';
import { systemClock } from '../std/clock.js';
import { type DaemonOptions, runDaemon } from './daemon.js';
import { builtInTypes } from './handler-types.js';
import { hostEntry, modelEntry, VERSION } from './package-facts.js';

export async function runNode(file: string, options: DaemonOptions): Promise<void> {
  const config = loadNodeConfig(file);
  await runDaemon('node', options, async (logger) => {
    const { reporter } = config;
    const agent = await createNodeAgent({
      ...config.listen,
      nodeId: config.nodeId,
      nodeName: config.nodeName,
      version: VERSION,
      labels: config.labels,
      token: config.token,
      tls: config.tls.identity,
      tlsCa: config.tls.ca,
      insecure: options.insecure,
      types: builtInTypes(),
      hostEntry: hostEntry(),
      modelEntry: modelEntry(),
      hostEnvironment: pickEnvironment(HOST_ENVIRONMENT),
      dataDir: config.dataDir,
      cacheDir: config.cacheDir,
      allow: config.allow,
      commands: config.commands,
      cpuCores: config.cpuCores,
      memMb: config.memMb,
      hostMemMbMax: config.hostMemMb,
      hostCpusMax: config.hostCpus,
      outputsMbMax: config.outputsMb,
      spareHosts: config.spareHosts,
      speed: config.speed,
      clockSkewMs: config.clockSkewMs,
      threads: config.threads,
      shareBatchMax: config.shareBatchMax,
      shareWaitMs: config.shareWaitMs,
      collector:
        reporter === null
          ? null
          : { url: reporter.collectorUrl, collectPeriodS: reporter.collectPeriodS, sendPeriodS: reporter.sendPeriodS },
      clock: systemClock(),
      logger,
    });
    return { url: agent.address.url, close: () => agent.close() };
  });
}
