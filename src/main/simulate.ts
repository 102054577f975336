/** `simulate`: one scenario under one algorithm in virtual time; nothing is started. */
import { OrchestratorError } from '../contracts/errors.js';
import type { Report } from '../simulation/report.js';
import type { Scenario, Size } from '../simulation/scenario.js';
import { SCENARIOS } from '../simulation/scenarios/index.js';
import { simulate } from '../simulation/simulation.js';
import { findAllocator } from './allocators.js';

/** Fleets that are simulated: the smallest that has cameras, an edge and a cloud, and the largest that is measured. */
const NODES_MIN = 10;
const NODES_MAX = 1_000;
const SESSIONS_MAX = 10_000;

export interface SimulateRequest {
  readonly scenario: string;
  /** A name, or the path of a module. */
  readonly algorithm: string;
  readonly seed: number;
  /** The scenario's own when absent. */
  readonly nodes?: number | undefined;
  readonly sessions?: number | undefined;
}

export const scenarios = (): readonly Scenario[] => SCENARIOS;

/** Throws SCENARIO_NOT_FOUND, ALLOCATOR_INVALID, REQUEST_INVALID. */
export async function simulateScenario(request: SimulateRequest): Promise<Report> {
  const scenario = SCENARIOS.find((one) => one.name === request.scenario);
  if (scenario === undefined) {
    const known = SCENARIOS.map((one) => one.name).join(', ');
    throw new OrchestratorError('SCENARIO_NOT_FOUND', `no scenario is ${request.scenario}; known: ${known}`);
  }
  const size: Size = {
    nodes: within('nodes', request.nodes ?? scenario.size.nodes, NODES_MIN, NODES_MAX),
    sessions: within('sessions', request.sessions ?? scenario.size.sessions, 1, SESSIONS_MAX),
  };
  const allocator = await findAllocator(request.algorithm);
  return simulate({ scenario, size, seed: within('seed', request.seed, 0, 1e9), allocator });
}

function within(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new OrchestratorError('REQUEST_INVALID', `${name} is ${value}, must be a whole number ${least}..${most}`);
}
