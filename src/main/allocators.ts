/** Planning algorithms by name, and modules of the user's: a default export that is an `Allocator` (allocation/fleet/allocator.ts). */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Allocator, ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { BASELINES } from '../allocation/fleet/baselines.js';
import { OrchestratorError } from '../contracts/errors.js';

export const ALGORITHMS: readonly string[] = [ORCHESTRATOR, ...BASELINES].map((one) => one.name);

/** Throws ALLOCATOR_INVALID. */
export async function findAllocator(algorithm: string): Promise<Allocator> {
  const own = [ORCHESTRATOR, ...BASELINES].find((one) => one.name === algorithm);
  if (own !== undefined) return own;
  if (!/[./\\]/.test(algorithm)) {
    throw new OrchestratorError(
      'ALLOCATOR_INVALID',
      `no algorithm is ${algorithm}; known: ${ALGORITHMS.join(', ')}, or the path of a module`,
    );
  }
  const invalid = (reason: string) => new OrchestratorError('ALLOCATOR_INVALID', `${algorithm}: ${reason}`);
  let loaded: { default?: Partial<Allocator> };
  try {
    loaded = (await import(pathToFileURL(resolve(algorithm)).href)) as typeof loaded;
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  const found = loaded.default;
  if (typeof found?.name !== 'string' || typeof found.plan !== 'function')
    throw invalid('its default export has no name and plan()');
  return found as Allocator;
}
