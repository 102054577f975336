import { describe, expect, it } from 'vitest';
import { stateStoreConformance, telemetryStoreConformance } from '../conformance.testing.js';
import { MemoryStateStore } from './memory-state-store.js';
import { MemoryTelemetryStore } from './memory-telemetry-store.js';

describe('memory', () => {
  stateStoreConformance(async () => new MemoryStateStore());
  telemetryStoreConformance(async () => new MemoryTelemetryStore());

  it('has no SQL', async () => {
    await expect(new MemoryTelemetryStore().sql('select 1')).rejects.toMatchObject({ code: 'SQL_REFUSED' });
  });
});
