/** All scenarios, in the order in which they are documented. */
import type { Scenario } from '../scenario.js';
import { ARRIVALS } from './arrivals.js';
import { CHANGES } from './changes.js';
import { LOSSES } from './losses.js';
import { LARGE, MIXES } from './mixes.js';
import { NETWORK } from './network.js';
import { OPERATIONS } from './operations.js';
import { STEADY } from './steady.js';

export const SCENARIOS: readonly Scenario[] = [
  ...[...STEADY, ...ARRIVALS, ...LOSSES, ...CHANGES],
  ...[...NETWORK, ...MIXES, ...OPERATIONS, ...LARGE],
];
