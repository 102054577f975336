/** All scenarios, in the order in which they are documented. */
import type { Scenario } from '../scenario.js';
import { LOSSES } from './losses.js';
import { STEADY } from './steady.js';

export const SCENARIOS: readonly Scenario[] = [...STEADY, ...LOSSES];
