/**
 * Main loop of a model process: one model, loaded when the agent says which, served until the agent says stop or is
 * gone. Without the agent there is no model process.
 */
import { unlink } from 'node:fs/promises';
import { toOrchestratorError } from '../../contracts/errors.js';
import type { FromModelProcess, ModelProcessConfig, ToModelProcess } from '../../contracts/model-process.js';
import type { Logger } from '../../std/logger.js';
import { EngineThread } from './engine-thread.js';
import { ModelServer } from './model-server.js';

export function runModelProcess(logger: Logger): void {
  let socketPath: string | null = null;
  let server: ModelServer | null = null;
  const tell = (message: FromModelProcess): void => {
    if (process.connected) process.send?.(message);
  };
  const exit = (code: number): void => {
    server?.close();
    const removed = socketPath === null ? Promise.resolve() : unlink(socketPath).catch(() => {});
    void removed.finally(() => process.exit(code));
  };

  async function open(config: ModelProcessConfig): Promise<void> {
    socketPath = config.socketPath;
    const engine = await EngineThread.open(config, (message) => tell({ type: 'progress', message }));
    server = new ModelServer({
      ...{ engine, threads: config.threads, batchMax: config.batchMax, batchWaitMs: config.batchWaitMs, logger },
      onHung() {
        logger.error({ model: config.model }, 'Error: an inference hangs; the model process ends');
        process.exit(1);
      },
    });
    await server.listen(config.socketPath);
    tell({ type: 'ready', provider: engine.provider, batches: engine.batches });
  }

  process.on('message', (message: ToModelProcess) => {
    if (message.type === 'open') {
      open(message.config).catch((error: unknown) => {
        const failed = { type: 'failed', problem: toOrchestratorError(error).toProblem() } as const;
        process.send?.(failed, () => process.exit(1));
      });
    } else if (message.type === 'ping' && server !== null) {
      tell({ type: 'pong', id: message.id, status: server.status() });
    } else if (message.type === 'stop') exit(0);
  });
  process.on('disconnect', () => exit(0));
  // Ctrl-C reaches the whole process group; the agent decides when this process ends.
  process.on('SIGINT', () => {});
}
