/**
 * The thread in which a store's SQLite calls run, so that the event loop that serves HTTP never waits for a disk.
 * Speaks messages.ts; answers calls in the order in which they come; ends when told, or when the file cannot be opened.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { databaseError, openDatabase } from './connection.js';
import { type Answer, type Call, errorText, type ThreadOptions } from './messages.js';
import { stateOperations } from './state-operations.js';
import { telemetryOperations } from './telemetry-operations.js';

const { kind, path, busyTimeoutMs } = workerData as ThreadOptions;
const port = parentPort!;
const answer = (message: Answer) => port.postMessage(message);

function serve(): void {
  const db = openDatabase(path, busyTimeoutMs);
  const operations = kind === 'state' ? stateOperations(db) : telemetryOperations(db);
  const methods = new Map(Object.entries(operations) as [string, (argument: unknown) => unknown][]);
  port.on('message', ({ id, method, argument }: Call) => {
    try {
      if (method === 'close') db.close();
      const value = methods.get(method)?.(argument);
      answer({ type: 'result', id, value });
      if (method === 'close') port.close();
    } catch (error) {
      answer({ type: 'error', id, error: errorText(databaseError(error, path)) });
    }
  });
  answer({ type: 'ready' });
}

try {
  serve();
} catch (error) {
  answer({ type: 'unusable', error: errorText(databaseError(error, path)) });
}
