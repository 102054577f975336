/**
 * The coordinator: which nodes there are, which sessions are wanted and where they run. Composes the parts and starts
 * them in the order that makes a restart harmless: first what is (one heartbeat of every node), then the epoch, then what
 * was decided (store; nobody older can change it any more), then the API and the reconciler. Invariant: nothing is sent to a node before both are known.
 */

import { ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { DEFAULT_LOOP_RULES } from '../allocation/fleet/loop-rules.js';
import { toOrchestratorError } from '../contracts/errors.js';
import { type ListenAddress, listen } from '../http-server/http-server.js';
import { Applier } from './applier.js';
import { Drains } from './drains.js';
import { EventLog } from './event-log.js';
import { Failover } from './failover.js';
import { createHttpApi } from './http-api.js';
import { LinkProbes, probeFreshS } from './link-probes.js';
import { LinkTable, type StoredReading } from './link-table.js';
import { Mover } from './mover.js';
import { NodePace } from './node-pace.js';
import { NodeRegistry } from './node-registry.js';
import { type CoordinatorBounds, type CoordinatorOptions, DEFAULT_COORDINATOR_BOUNDS } from './options.js';
import { Planner } from './planner.js';
import { PlanningLoop } from './planning-loop.js';
import { ProfileCache } from './profiles.js';
import { Reconciler } from './reconciler.js';
import { SessionService } from './session-service.js';
import { SessionTable } from './session-table.js';

export interface Coordinator {
  readonly address: ListenAddress;
  /** Fencing number of this start. */
  readonly epoch: number;
  /** Stops deciding; sessions run on, and the next coordinator on the same store takes them over. */
  close(): Promise<void>;
}

/** Rows of link_info that a start reads: the last minutes of a large cluster; what is not among them is measured again. */
const LINK_ROWS_MAX = 5_000;

/** Epochs that one start may skip to get past what nodes have seen under another store. */
const EPOCHS_SKIPPED_MAX = 10_000;

/** Throws what `listen` throws, and DATABASE_UNAVAILABLE. The stores stay the caller's to close. */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { state, telemetry, token, types, clock, logger } = options;
  // The one list that everybody reads; only the applier changes it.
  const services = [...options.services];
  const bounds: CoordinatorBounds = { ...DEFAULT_COORDINATOR_BOUNDS, ...options.bounds };
  const events = new EventLog({ state, clock, logger });
  const { nodes, tlsCa } = options;
  const registry = new NodeRegistry({ nodes, token, tlsCa, state, events, bounds, clock, logger });
  const profiles = new ProfileCache({ telemetry, bounds, clock, logger });
  const { linkProbePeriodMs: periodMs } = bounds;
  const links = new LinkTable({ clock, probeFreshS: () => probeFreshS(options.nodes.length, periodMs) });
  const pace = new NodePace({
    ...{ events, clock, profileWindowMs: bounds.profileWindowS * 1000 },
    rules: { ...DEFAULT_LOOP_RULES, ...options.loopRules },
  });
  const table = new SessionTable({ state, registry, profiles, pace, links, services, types, logger });
  const probes = new LinkProbes({ registry, links, periodMs, active: () => table.active(), logger });
  const { allocator = ORCHESTRATOR, loopRules: rules } = options;
  const planner = new Planner({ table, allocator });
  const failover = new Failover({ table, planner, registry, events, bounds, clock });
  const mover = new Mover({ table, planner, registry, events, clock });
  const drains = new Drains({ table, registry, events, clock });
  const closers: (() => Promise<void> | void)[] = [
    () => events.flush(),
    () => registry.close(),
    () => profiles.close(),
    () => probes.close(),
  ];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    await Promise.all([profiles.start(), registry.start(), restoreLinks(options, links, periodMs)]);
    const epoch = await newestEpoch(options, registry);
    options.state.fence(epoch);
    // Only now: until this epoch was handed out an older coordinator could still change what is stored.
    await Promise.all([table.load(), registry.restoreDrained()]);
    registry.lead(epoch);
    tellLead(options, epoch, events);
    const reconciler = new Reconciler({
      ...{ table, registry, failover, mover, events, epoch, bounds, clock, logger },
      leads: () => options.lead?.holds() ?? true,
    });
    closers.push(async () => {
      reconciler.close();
      await reconciler.settle();
    });
    const loop = new PlanningLoop({
      ...{ table, planner, registry, reconciler, mover, drains, pace, events, allocator, rules, bounds, clock, logger },
    });
    closers.push(() => loop.close());
    const sessions = new SessionService({
      ...{ table, planner, registry, reconciler, mover, loop, events, state, services, types, clock },
    });
    const applier = new Applier({ services, types, table, planner, registry, mover, reconciler, events });
    closers.push(() => applier.close());
    const app = await createHttpApi({
      ...{ token, epoch, sessions, applier, table, registry, drains, pace, links, probes, failover, events },
      ...{ telemetry, services, types, clock, logger },
      tls: options.tls ?? null,
    });
    closers.push(() => app.close());
    const address = await (options.lead?.serve(app) ?? listen(app, options));
    registry.onChange((nodeId, change) => {
      if (change === 'heartbeat') links.observe(nodeId, registry.get(nodeId)!.status.sessions.values());
      reconciler.nodeChanged(nodeId, change);
      loop.nodeChanged(nodeId, change);
    });
    for (const { file } of registry.all()) reconciler.nodeChanged(file.node_id, 'up');
    reconciler.kickAll();
    probes.start();
    loop.start();
    closers.push(pruning(options, bounds));
    logger.info({ epoch, url: address.url, nodes: options.nodes.length }, `coordinator listens at ${address.url}`);
    return { address, epoch, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Greater than every one handed out by this store, and than every one that a node has seen: the coordinator that was
 * started last owns the nodes, also after its store was lost and begins at 1 again.
 */
async function newestEpoch({ state, lead, logger }: CoordinatorOptions, registry: NodeRegistry): Promise<number> {
  const seen = Math.max(0, ...registry.all().map(({ status }) => status.epoch));
  let epoch = await state.nextEpoch(lead?.holder);
  for (let skipped = 0; epoch <= seen && skipped < EPOCHS_SKIPPED_MAX; skipped++) {
    epoch = await state.nextEpoch(lead?.holder);
  }
  if (epoch <= seen) logger.error({ epoch, seen }, `nodes have seen epoch ${seen} and will take nothing from ${epoch}`);
  return epoch;
}

/** Without what was measured lately the first plans after a restart would believe the node files. */
async function restoreLinks(options: CoordinatorOptions, links: LinkTable, periodMs: number): Promise<void> {
  const { telemetry, nodes, clock, logger } = options;
  const since = clock.now() - probeFreshS(nodes.length, periodMs);
  try {
    const rows = await telemetry?.recent('link_info', { since, limit: LINK_ROWS_MAX });
    links.restore((rows ?? []) as unknown as StoredReading[], clock.now());
  } catch (error) {
    logger.warn({ err: error }, `links are measured anew: ${toOrchestratorError(error).message}`);
  }
}

/** Of several coordinators: which one decides from now on. */
function tellLead({ lead }: CoordinatorOptions, epoch: number, events: EventLog): void {
  if (lead === undefined) return;
  events.emit({ kind: 'coordinator.leads', message: `coordinator ${lead.url} leads | epoch ${epoch}` });
}

/** Removes old sessions and events from the store, now and then. */
function pruning({ state, clock, logger }: CoordinatorOptions, bounds: CoordinatorBounds): () => Promise<void> {
  let running = Promise.resolve();
  const prune = () => {
    running = state.prune(clock.now()).then(
      () => {},
      (error: unknown) => logger.warn({ err: error }, toOrchestratorError(error).message),
    );
  };
  prune();
  const timer = setInterval(prune, bounds.prunePeriodMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}
