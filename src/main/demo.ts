/**
 * `demo`: a coordinator, a collector and three unequal nodes on this computer, a face service on shipped pictures, and
 * the death of a node. Everything printed is read from the running system or from the sink's file; nothing is staged but
 * the unequal speed of the nodes, which is emulated and said so.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Explanation, pageUrl } from '../client/index.js';
import { DEMO_DIR } from '../config/cluster-file.js';
import { defaultCacheDir } from '../config/environment.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { Loss } from '../contracts/loss.js';
import type { Objective, Refusal, SessionPlan } from '../contracts/plan.js';
import type { SessionCreated, SessionView } from '../contracts/session.js';
import { findOutput } from './boxes-journal.js';
import { type ClusterNode, type LocalCluster, startCluster } from './cluster.js';
import { type DemoEvent, killAndRecover, type Recovery, recoveryText } from './demo-failover.js';
import { SinkWatch } from './demo-watch.js';
import { freshDirectory, releaseDirectory } from './fresh-directory.js';
import { enrolFaces } from './gallery.js';
import { SERVICES_DIR, samplePicturesDir } from './package-facts.js';
import { findService, type HandlerParams, paramsFor } from './session-request.js';
import { awaitRunning, awaitSession } from './session-wait.js';
import { lossText } from './text/loss-text.js';
import { choiceLine, linkTable, objectiveText, placementTable } from './text/plan-text.js';
import { predictionTable } from './text/prediction-text.js';
import { dropsText, handlerStatsTable, linkStatsTable, sinkFigures, summaryLine } from './text/session-text.js';
import { left, ms, right, seconds, table } from './text/table.js';

export interface DemoOptions {
  readonly once: boolean;
  readonly token: string | null;
  readonly signal: AbortSignal;
  onProgress(message: string): void;
  onText(text: string): void;
  onResult(result: DemoResult): void;
}

export interface DemoResult {
  readonly plan: SessionPlan;
  readonly session: SessionView;
  readonly recovery: Recovery;
  readonly after: SessionView;
  readonly loss: Loss;
  readonly pictures: string;
  readonly database: string;
  readonly elapsed_ms: number;
}

/**
 * The client has too little memory for the models, so it cannot meet the goal alone; either server can with it. Speeds are
 * emulated: a handler on a node of speed 0.5 takes twice as long (it computes, then waits).
 */
const NODES: readonly ClusterNode[] = [
  { node_id: 0, node_name: 'client', node_type: 'client', labels: ['camera'], speed: 0.6, cpuCores: 2, memMb: 520 },
  { node_id: 1, node_name: 'edge', node_type: 'edge', speed: 0.7, cpuCores: 2, memMb: 1500, rttMs: 1 },
  { node_id: 2, node_name: 'cloud', node_type: 'cloud', speed: 1, cpuCores: 2, memMb: 2000, rttMs: 4 },
];

const SERVICE = 'face_recognition';
const OBJECTIVE: Objective = { fps: 3, latency_ms_max: 1500, accuracy_min: 0.35 };
const GALLERY_PICTURES = ['sample1.jpg', 'sample3.jpg', 'sample5.jpg'];

/** Wide enough for every face of the pictures, and what a camera gives, px. */
const PICTURE_WIDTH = 800;

/** Frames before the figures are printed, so that the first, slow ones do not fill them. */
const FRAMES_MEASURED = 24;
const MEASURE_TIMEOUT_MS = 25_000;
const MEASURE_AFTER_MS = 5_000;
const STATUS_PERIOD_MS = 2_000;

export async function runDemo(options: DemoOptions): Promise<void> {
  const startedMs = performance.now();
  const samples = samplePicturesDir();
  const dataDir = freshDirectory(DEMO_DIR, '`demo`');
  const galleryDir = join(dataDir, 'gallery');
  options.onProgress('enrolling faces of sample pictures (the first time models are converted)');
  const people = await enrolFaces({
    pictures: GALLERY_PICTURES.map((name) => join(samples, name)),
    directory: galleryDir,
    cacheDir: defaultCacheDir(),
    onProgress: options.onProgress,
  });
  options.signal.throwIfAborted();
  options.onProgress('starting a collector, a coordinator and three nodes');
  const cluster = await startCluster({
    dataDir,
    nodes: NODES,
    servicesDir: SERVICES_DIR,
    allow: [samples, dataDir],
    collector: true,
    token: options.token,
  });
  try {
    options.onText(await openingText(cluster, people));
    const demo = new Demo(cluster, options, { samples, galleryDir, dataDir });
    const result = await demo.run(startedMs);
    options.onResult(result);
    if (!options.once) await demo.stay();
    await demo.finish();
  } finally {
    options.onProgress('closing');
    await cluster.close();
    releaseDirectory(dataDir);
  }
  options.onText(`\nall processes have ended; the whole demo took ${seconds(performance.now() - startedMs)}`);
}

interface DemoPaths {
  readonly samples: string;
  readonly galleryDir: string;
  readonly dataDir: string;
}

class Demo {
  readonly #cluster: LocalCluster;
  readonly #options: DemoOptions;
  readonly #paths: DemoPaths;
  #sessionId = -1;

  constructor(cluster: LocalCluster, options: DemoOptions, paths: DemoPaths) {
    this.#cluster = cluster;
    this.#options = options;
    this.#paths = paths;
  }

  async run(startedMs: number): Promise<DemoResult> {
    const { onText, onProgress } = this.#options;
    const plan = await this.#start();
    const watch = new SinkWatch(join(this.#cluster.nodes[0]!.dataDir, 'outputs'));
    try {
      const session = await this.#measure(FRAMES_MEASURED);
      const explanation = await this.#cluster.coordinator.explain(this.#sessionId);
      onText(measuredText(session, explanation, labelsSeen(watch)));
      onProgress('killing a node');
      const recovery = await killAndRecover({
        cluster: this.#cluster,
        sessionId: this.#sessionId,
        watch,
        signal: this.#options.signal,
        onEvent: (event: DemoEvent) => onText(`  ${event.time}  ${event.text}`),
        onKill: (text) => onText(`\n${text}`),
      });
      onText(recoveryText(recovery));
      onProgress('measuring on the nodes that are left');
      await sleep(MEASURE_AFTER_MS, undefined, { signal: this.#options.signal });
      const after = await this.#session();
      const loss = await this.#cluster.coordinator.loss(this.#sessionId);
      onText(`\n${summaryLine(after)}\nledger: ${lossText(loss)}`);
      const pictures = this.#pictures();
      onText(this.#whereText(pictures));
      const elapsed_ms = Math.round(performance.now() - startedMs);
      return { plan, session, recovery, after, loss, pictures, database: this.#cluster.database, elapsed_ms };
    } finally {
      watch.close();
    }
  }

  /** A status line now and then, until Ctrl-C. */
  async stay(): Promise<void> {
    const { signal, onText } = this.#options;
    onText(`watch it: ${this.#pageUrl(await this.#session())}\nCtrl-C ends the demo\n`);
    while (!signal.aborted) {
      await sleep(STATUS_PERIOD_MS, undefined, { signal }).catch(() => {});
      if (!signal.aborted) onText(`  ${summaryLine(await this.#session())}`);
    }
  }

  async finish(): Promise<void> {
    this.#options.onProgress('stopping the session');
    const { coordinator } = this.#cluster;
    await coordinator.stopSession(this.#sessionId);
    await awaitSession(coordinator, this.#sessionId, ({ observed }) => observed === 'stopped', { timeoutMs: 15_000 });
  }

  async #start(): Promise<SessionPlan> {
    const { onText, onProgress, signal } = this.#options;
    const { coordinator } = this.#cluster;
    const service = findService(await coordinator.services(), SERVICE);
    onProgress('planning');
    const params = paramsFor(service, {
      capture: { loop: true, width: PICTURE_WIDTH },
      recognize_face: { classifier: this.#paths.galleryDir },
      dlib_align_recognize: { classifier: this.#paths.galleryDir },
    });
    const { objective, created } = await this.#admitted(params);
    const { session_id, plan } = created;
    this.#sessionId = session_id!;
    onText(planText(this.#sessionId, plan, objective));
    onProgress('loading models (the first time they are converted)');
    const session = await awaitRunning(coordinator, this.#sessionId, { signal });
    requireRunning(session);
    return plan;
  }

  /** With the demo's goal; where this machine is too slow for it, with the nearest that the coordinator would admit. */
  async #admitted(params: HandlerParams): Promise<{ objective: Objective; created: SessionCreated }> {
    const { coordinator } = this.#cluster;
    const create = (objective: Objective) =>
      coordinator.createSession({
        service: SERVICE,
        source: join(this.#paths.samples, 'sample*.jpg'),
        source_node: 'client',
        objective,
        delivery: 'latest',
        params,
      });
    try {
      return { objective: OBJECTIVE, created: await create(OBJECTIVE) };
    } catch (error) {
      const refusal = error instanceof OrchestratorError ? (error.context.refusal as Refusal | undefined) : undefined;
      if (refusal?.nearest === undefined) throw error;
      this.#options.onText(`\ngoal ${objectiveText(OBJECTIVE)} refused on this machine: ${refusal.reasons.join('; ')}`);
      return { objective: refusal.nearest, created: await create(refusal.nearest) };
    }
  }

  /** The session once its sink has seen `frames` frames; on a slow machine after a while with what there is. */
  async #measure(frames: number): Promise<SessionView> {
    const { onProgress, signal } = this.#options;
    const deadline = performance.now() + MEASURE_TIMEOUT_MS;
    const enough = (session: SessionView) => {
      const delivered = sinkFigures(session)?.delivered ?? 0;
      onProgress(`frames flow: ${delivered} of ${frames}`);
      return delivered >= frames || performance.now() > deadline;
    };
    return awaitSession(this.#cluster.coordinator, this.#sessionId, enough, { signal });
  }

  #session(): Promise<SessionView> {
    return this.#cluster.coordinator.session(this.#sessionId);
  }

  #pictures(): string {
    const journal = findOutput(join(this.#cluster.nodes[0]!.dataDir, 'outputs'), 'boxes.jsonl');
    return journal === null ? this.#cluster.nodes[0]!.dataDir : dirname(journal);
  }

  #whereText(pictures: string): string {
    const count = existsSync(pictures) ? readdirSync(pictures).filter((name) => name.endsWith('.jpg')).length : 0;
    const shown = (path: string) => relative(process.cwd(), path) || '.';
    return [
      '',
      `annotated pictures  ${shown(pictures)} (${count})`,
      `database            ${shown(this.#cluster.database)}`,
      '  orchestrator sql "select count(*), event from packet_info group by event"',
    ].join('\n');
  }

  /** The page of the sink, at the node that runs it. */
  #pageUrl(session: SessionView): string {
    const sink = session.plan.handlers.at(-1)!;
    const node = this.#cluster.nodes.find((one) => one.node.node_id === sink.node_id)!;
    return pageUrl(node.url, session.session_id, sink.handler_id, 'index.html');
  }
}

function requireRunning(session: SessionView): void {
  if (session.observed === 'running') return;
  const message = `session ${session.session_id} is ${session.observed}: ${session.problem ?? 'no reason was given'}`;
  throw new OrchestratorError('HANDLER_FAILED', message);
}

async function openingText({ coordinator, nodes }: LocalCluster, people: readonly string[]): Promise<string> {
  const views = await coordinator.nodes();
  const rows = nodes.map(({ node, url, daemon }) => {
    const facts = views.find((view) => view.node_id === node.node_id)?.facts;
    const role = node.node_type === 'client' ? 'has the pictures' : '';
    return [
      ...[node.node_name, `x ${node.speed}`, facts?.speed.toFixed(2) ?? '-', String(node.cpuCores), String(node.memMb)],
      ...[url, String(daemon.pid), role],
    ];
  });
  const columns = [
    ...[
      left('node'),
      left('emulated'),
      right('speed'),
      right('cores'),
      right('mem MiB'),
      left('address'),
      right('pid'),
      left(''),
    ],
  ];
  return [
    'a face service over three unequal nodes on this computer',
    '',
    table({ columns, rows, indent: 2 }),
    '  speed: of one core, 1 = the machine that the declared costs were measured on; the inequality is emulated,\n  by waiting; memory and cores are what each agent may promise',
    '',
    `gallery: ${people.length} faces cropped from ${GALLERY_PICTURES.join(', ')} under invented names (${people.join(', ')});`,
    '  the same pictures are then recognised, so the labels show the chain at work and prove no accuracy',
  ].join('\n');
}

function planText(sessionId: number, plan: SessionPlan, objective: Objective): string {
  return [
    '',
    `session ${sessionId} ${plan.service_name}: goal ${objectiveText(objective)}`,
    choiceLine(plan),
    ...plan.reasons.map((reason) => `  - ${reason}`),
    '',
    placementTable(plan),
    '',
    linkTable(plan),
  ].join('\n');
}

function measuredText(session: SessionView, explanation: Explanation, labels: readonly string[]): string {
  const sink = sinkFigures(session);
  const delay = `p50 ${ms(sink?.endToEndP50Ms)} ms / p95 ${ms(sink?.endToEndP95Ms)} ms`;
  return [
    '\nmeasured',
    handlerStatsTable(session),
    '',
    linkStatsTable(session),
    '',
    'predicted and measured',
    predictionTable(explanation),
    '',
    `  end to end ${delay} (predicted p95 ${ms(session.plan.latency_ms)} ms), ${sink?.fps.toFixed(1) ?? '-'} fps, ${sink?.delivered ?? 0} delivered, ${sink === null ? '' : dropsText(session, sink)}`,
    `  labels seen: ${labels.join(', ') || 'none'}`,
  ].join('\n');
}

function labelsSeen(watch: SinkWatch): string[] {
  const counts = new Map<string, number>();
  for (const label of watch.since(0).flatMap((arrival) => [...arrival.labels])) {
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([label, count]) => `${label} ${count}`);
}
