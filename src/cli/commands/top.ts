/**
 * `top`: nodes and handlers, again and again. On a terminal one page that is drawn over; to a pipe or a file one table for
 * each look (with --json one line), so that `top | grep detect` and `top --json | jq` work.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { CoordinatorClient } from '../../client/index.js';
import { type TopFigures, topFigures, topText } from '../../main/text/top-text.js';
import { durationMs } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { interruptible } from '../interrupt.js';
import { globalOptions, usage } from '../output.js';

/** Between two looks, ms. Handlers' figures are as old as the newest heartbeat, half a second. */
const INTERVAL_MS_MIN = 200;

interface TopFlags {
  readonly once?: boolean;
  readonly interval: number;
}

export function addTopCommand(program: Command): void {
  program
    .command('top')
    .option('--once', 'look once')
    .option('--interval <duration>', 'between two looks', durationMs, 2000)
    .description('nodes and handlers as they run: fps, p95, queues and drops')
    .action(async ({ once = false, interval }: TopFlags, command: Command) => {
      if (interval < INTERVAL_MS_MIN) throw usage(`--interval ${interval} ms: at least ${INTERVAL_MS_MIN} ms`);
      const { json } = globalOptions(command);
      await withCoordinator(command, (client) =>
        interruptible((signal) => watch(client, { json, once, interval, signal })),
      );
    });
}

interface WatchOptions {
  readonly json: boolean;
  readonly once: boolean;
  readonly interval: number;
  readonly signal: AbortSignal;
}

async function watch(client: CoordinatorClient, { json, once, interval, signal }: WatchOptions): Promise<void> {
  let before: TopFigures | null = null;
  const isPage = process.stdout.isTTY === true && !once && !json;
  for (;;) {
    const [nodes, sessions] = await Promise.all([client.nodes(), client.sessions()]);
    const running = sessions.filter(({ desired }) => desired === 'running');
    before = topFigures({ at: Date.now() / 1000, nodes, sessions: running }, before);
    process.stdout.write(json ? `${JSON.stringify(before)}\n` : shown(topText(before), isPage));
    if (once || signal.aborted) return;
    await sleep(interval, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
  }
}

/** A page fits the terminal, so that it can be drawn over: what is too wide or too long is cut. */
function shown(text: string, isPage: boolean): string {
  if (!isPage) return `${text}\n\n`;
  const { columns = 80, rows = 24 } = process.stdout;
  const lines = text.split('\n').map((line) => line.slice(0, columns - 1));
  const fitting =
    lines.length < rows ? lines : [...lines.slice(0, rows - 2), `... ${lines.length - rows + 2} more lines`];
  return `\u001b[H${fitting.map((line) => `${line}\u001b[K`).join('\n')}\n\u001b[J`;
}
