import { expect, test } from 'vitest';
import { SCENARIOS } from '../simulation/scenarios/index.js';
import { simulateScenario } from './simulate.js';
import { simulationText } from './text/simulation-text.js';

const asked = { scenario: SCENARIOS[0]!.name, algorithm: 'network_aware', seed: 1, nodes: 10, sessions: 3 };

test('a run is told in one table', async () => {
  const text = simulationText(await simulateScenario(asked));
  expect(text).toMatch(/network_aware +\d\/3/);
  expect(text).toMatch(/frames: \d+ offered = \d+ in time/);
});

test('what is not known or out of range is refused with what there is', async () => {
  const refused = (given: Partial<typeof asked>) => expect(simulateScenario({ ...asked, ...given })).rejects;
  await refused({ scenario: 'nope' }).toMatchObject({
    code: 'SCENARIO_NOT_FOUND',
    message: expect.stringContaining('steady-60'),
  });
  await refused({ algorithm: 'nope' }).toMatchObject({
    code: 'ALLOCATOR_INVALID',
    message: expect.stringContaining('network_aware'),
  });
  await refused({ nodes: 2 }).toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining('nodes is 2'),
  });
  await refused({ sessions: 1e6 }).toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining('10000'),
  });
  await refused({ seed: 0.5 }).toMatchObject({ code: 'REQUEST_INVALID' });
});
