/**
 * A session of several handler hosts in one process, with faults: each handler is a host of its own, joined by memory
 * links whose deliveries take random turns, whose connections can be cut, and whose ends can be killed and started again.
 * The sink's record and the source's checkpoint outlive their hosts, like files do.
 */
import type { BlueprintLink } from '../contracts/blueprint.js';
import type { DataPacket, Delivery, DropPacket } from '../contracts/packet.js';
import type { LedgerRow } from '../contracts/report.js';
import type { Dial } from '../links/link.js';
import { LinkReceiver } from '../links/link-receiver.js';
import { memoryDial } from '../links/memory-link.js';
import { systemClock } from '../std/clock.js';
import { deferred } from '../std/deferred.js';
import { silentLogger } from '../std/logger.js';
import { Account } from './account.js';
import type { HandlerManifest, ProcessingHandler, SourceHandler } from './define.js';
import type { LinkWindow } from './outputs.js';
import { HandlerRunner } from './runner.js';
import { SourceRunner } from './source-runner.js';
import { Telemetry } from './telemetry.js';

export interface Topology {
  /** `inputs[n]`: the handlers that feed handler n, in the order of its inputs; handler 0 is the source, the last the sink. */
  readonly inputs: readonly (readonly number[])[];
}

export interface ClusterOptions extends Topology {
  readonly delivery: Delivery;
  /** Of the link that leaves handler `source`, where it differs. */
  readonly linkDelivery?: (source: number) => Delivery | undefined;
  /** The source ends before this sequence. */
  readonly packets: number;
  readonly random: () => number;
  readonly latencyMsMax?: number | null;
  /** Packets that each worker has at work at a time; their order of completion is random. */
  readonly concurrency?: number;
  /** Window of each output link of handler n. */
  readonly windows?: readonly LinkWindow[];
  /** Handlers whose process() throws on these sequences. */
  readonly failing?: ReadonlyMap<number, ReadonlySet<number>>;
  /** Handlers that give no output for these sequences. */
  readonly silent?: ReadonlyMap<number, ReadonlySet<number>>;
}

export interface SinkRecord {
  readonly sequence: number;
  /** Content of the packet at the sink, or why it was dropped. */
  readonly what: string;
}

interface Host {
  readonly runner: HandlerRunner | SourceRunner;
  readonly receivers: LinkReceiver[];
  /** Of the plan that it was made for. */
  readonly generation: number;
  /** Becomes false with a kill: what its handlers still do then has no effect, as in a process that is gone. */
  readonly life: { alive: boolean };
}

const clock = systemClock();

/** Turns of the event loop that an old host is given to drain. */
const DRAIN_TURNS = 2_000;

export class TestCluster {
  readonly records: SinkRecord[] = [];
  /** What sources and sinks told of their accounts, as their agents would report it. */
  readonly ledger: LedgerRow[] = [];
  readonly ended = deferred<void>();
  readonly #options: ClusterOptions;
  readonly #hosts: Host[] = [];
  readonly #accounts: Account[] = [];
  readonly #cuts = new Set<() => void>();
  #checkpoint = -1;
  #emitted = 0;
  #generation = 0;
  /** Connections made so far: more than links when something broke. */
  connections = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    options.inputs.forEach((_, handler) => {
      this.#hosts[handler] = this.#start(handler);
    });
    this.#hosts.forEach((_, handler) => {
      this.#connect(handler);
    });
    this.#run();
  }

  get sink(): HandlerRunner {
    return this.#hosts.at(-1)!.runner as HandlerRunner;
  }

  get emitted(): number {
    return this.#emitted;
  }

  runner(handler: number): HandlerRunner | SourceRunner {
    return this.#hosts[handler]!.runner;
  }

  /** Cuts a random connection; what is in flight on it is lost. */
  cut(): void {
    const cuts = [...this.#cuts];
    cuts[Math.floor(this.#options.random() * cuts.length)]?.();
  }

  /** Kills a host and starts it again; nothing of it survives but files. */
  restart(handler: number): void {
    this.#checkpoint = Math.max(this.#checkpoint, this.#hosts[0]!.runner.settled);
    this.#end(this.#hosts[handler]!);
    this.#hosts[handler] = this.#start(handler);
    this.#connect(handler);
    if (handler === 0) this.#run();
  }

  /**
   * Makes a worker anew as a move does: the new host is made; then it takes its inputs over, and those behind it are told
   * where it is, in any order; then the old one drains and ends. `kills`: one of the two dies on the way.
   */
  async move(handler: number, kills: 'neither' | 'old' | 'new' = 'neither'): Promise<void> {
    const old = this.#hosts[handler]!;
    this.#generation += 1;
    this.#hosts[handler] = this.#start(handler);
    const retargetsFirst = this.#options.random() < 0.5;
    if (retargetsFirst) this.#retarget(handler);
    else this.#connect(handler);
    await this.#pause();
    if (kills === 'old') this.#end(old);
    // The one that is started again takes its inputs over by itself.
    if (kills === 'new') this.restart(handler);
    else if (retargetsFirst) this.#connect(handler);
    if (!retargetsFirst) this.#retarget(handler);
    await this.#drained(old);
    this.#end(old);
  }

  /** Under `all` a host that nobody reads from any more waits for room in vain, and what it holds comes again. */
  async #drained({ runner, life }: Host): Promise<void> {
    const worker = runner as HandlerRunner;
    const isDrained = () => worker.idle && worker.outputs.flushed;
    for (let turn = 0; turn < DRAIN_TURNS && life.alive && !isDrained(); turn++) await new Promise(setImmediate);
  }

  async close(): Promise<void> {
    for (const account of this.#accounts) account.flush();
    for (const { runner, receivers } of this.#hosts) {
      for (const receiver of receivers) receiver.close();
      await runner.close();
    }
  }

  #end({ runner, receivers, life }: Host): void {
    life.alive = false;
    for (const receiver of receivers) receiver.close();
    void runner.close();
  }

  /** Those behind a handler dial the host that it has now. */
  #retarget(handler: number): void {
    const { generation } = this.#hosts[handler]!;
    for (const { runner, receivers } of this.#hosts) {
      if (runner instanceof SourceRunner) continue;
      for (const receiver of receivers) {
        if (receiver.link.source_handler !== handler) continue;
        receiver.setGeneration(generation);
        receiver.retarget(this.#dial(receiver.link));
      }
    }
  }

  #run(): void {
    (this.#hosts[0]!.runner as SourceRunner).run();
  }

  #start(handler: number): Host {
    const { inputs, delivery, latencyMsMax, windows } = this.#options;
    const sink = handler === inputs.length - 1;
    const life = { alive: true };
    const common = {
      handlerId: handler,
      manifest: manifestOf(inputs[handler]!.length, sink),
      delivery,
      latencyMsMax: latencyMsMax ?? null,
      speed: 1,
      clock,
      logger: silentLogger,
      telemetry: new Telemetry({ session_id: 1, clock }),
      account: this.#account(handler, life),
      window: windows?.[handler] ?? {},
    };
    const runner =
      handler === 0
        ? new SourceRunner({
            ...common,
            handler: this.#source(life),
            resumeAfter: this.#checkpoint,
            onFailed: (error) => this.ended.reject(error),
          })
        : new HandlerRunner({ ...common, handler: sink ? this.#sinkHandler(life) : this.#worker(handler) });
    inputs.forEach((sources, target) => {
      sources.forEach((source, target_input) => {
        if (source === handler) runner.outputs.add(this.#link(source, target, target_input));
      });
    });
    return { runner, receivers: [], life, generation: this.#generation };
  }

  /** On the agent's side: what came through before the kill is there, and the next process is told how far it reaches. */
  #account(handlerId: number, life: { alive: boolean }): Account {
    const earlier = this.ledger.filter((row) => row.handler_id === handlerId).map((row) => row.last_sequence);
    const account = new Account({
      ...{ sessionId: 1, handlerId, clock },
      accounted: Math.max(-1, ...earlier),
      send: (rows) => {
        if (life.alive) this.ledger.push(...rows);
      },
    });
    this.#accounts[handlerId] = account;
    return account;
  }

  #connect(handler: number): void {
    const { inputs, delivery, random } = this.#options;
    const { runner, receivers, generation } = this.#hosts[handler]!;
    if (runner instanceof SourceRunner) return;
    inputs[handler]!.forEach((source, input) => {
      const link = this.#link(source, handler, input);
      const receiver = new LinkReceiver({
        link,
        delivery: link.delivery ?? delivery,
        clock,
        logger: silentLogger,
        generation,
        settled: runner.startsAfter,
        random,
        dial: this.#dial(link),
        onPacket: (packet, arrival) => runner.accept(input, packet, arrival),
        onFloor: (settled) => runner.raiseFloor(settled),
      });
      receivers.push(receiver);
      runner.setInput(input, receiver);
      receiver.start();
    });
  }

  #dial(link: BlueprintLink): Dial {
    return (hello, events) =>
      memoryDial({
        find: () => this.#hosts[link.source_handler]!.runner.outputs.find(link),
        clock,
        schedule: this.#turns(),
        onConnection: (cut) => {
          this.connections += 1;
          this.#cuts.add(cut);
        },
      })(hello, events);
  }

  #link(source_handler: number, target_handler: number, target_input: number): BlueprintLink {
    const delivery = this.#options.linkDelivery?.(source_handler);
    const ends = { source_handler, source_output: 0, target_handler, target_input };
    return delivery === undefined ? ends : { ...ends, delivery };
  }

  /** Deliveries in order, a random few per turn of the event loop. */
  #turns(): (deliver: () => void) => void {
    const waiting: (() => void)[] = [];
    const turn = (): void => {
      for (let count = Math.floor(this.#options.random() * 4); count > 0; count--) waiting.shift()?.();
      if (waiting.length > 0) setImmediate(turn);
    };
    return (deliver) => {
      waiting.push(deliver);
      if (waiting.length === 1) setImmediate(turn);
    };
  }

  async #pause(): Promise<void> {
    for (let turns = Math.floor(this.#options.random() * 3); turns > 0; turns--) await new Promise(setImmediate);
  }

  #source(life: { alive: boolean }): SourceHandler {
    const { packets } = this.#options;
    return {
      kind: 'source',
      run: async (control) => {
        while (control.nextSequence() < packets && !control.signal.aborted) {
          await this.#pause();
          if (!life.alive) return;
          const sequence = control.nextSequence();
          this.#emitted = Math.max(this.#emitted, sequence + 1);
          await control.emit({ type: 'bytes', data: Buffer.from(String(sequence)) }, {});
        }
      },
      close() {},
    };
  }

  #worker(handler: number): ProcessingHandler {
    const { failing, silent, concurrency = 1 } = this.#options;
    return {
      kind: 'processing',
      concurrency,
      process: async (packets) => {
        await this.#pause();
        const { sequence } = packets[0]!;
        if (failing?.get(handler)?.has(sequence)) throw new Error(`no ${sequence}`);
        if (silent?.get(handler)?.has(sequence)) return { outputs: [null] };
        return { outputs: [{ type: 'bytes', data: Buffer.from(contentOf(packets)) }] };
      },
      close() {},
    };
  }

  #sinkHandler(life: { alive: boolean }): ProcessingHandler {
    return {
      kind: 'processing',
      committed: this.records.at(-1)?.sequence ?? -1,
      process: async (packets) => {
        await this.#pause();
        if (life.alive) this.records.push({ sequence: packets[0]!.sequence, what: contentOf(packets) });
        return { outputs: [] };
      },
      dropped: (packet: DropPacket) => {
        if (life.alive) this.records.push({ sequence: packet.sequence, what: `${packet.reason} ${packet.handler_id}` });
      },
      ended: () => {
        if (life.alive) this.ended.resolve();
      },
      close() {},
    };
  }
}

/** All inputs must agree on the number that the source wrote. */
function contentOf(packets: readonly DataPacket[]): string {
  const contents = new Set(packets.map(({ payload }) => (payload.type === 'bytes' ? payload.data.toString() : '')));
  return contents.size === 1 ? [...contents][0]! : `mixed ${[...contents].join(',')}`;
}

function manifestOf(inputs: number, sink: boolean): HandlerManifest {
  return {
    handler_type_id: 1,
    handler_type_name: 'test',
    aliases: [],
    description: '',
    inputs: Array.from({ length: inputs }, (_, index) => ({ name: `in${index}`, accepts: ['bytes'] })),
    outputs: sink ? [] : [{ name: 'out', emits: 'bytes' }],
    params: null,
    cost: { cpu_ms: 0, gpu_ms: 0, mem_mb: 0, out_bytes: 0 },
    host: 'own',
    load: () => Promise.reject(new Error('not loaded in tests')),
  };
}
