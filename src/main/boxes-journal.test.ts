import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Journal } from '../handlers/render/journal.js';
import { BoxesJournal } from './boxes-journal.js';

const BYTES_MAX = 400;

/** What happens to a journal: a record of some size, a writer that is opened again, a reader that looks. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('append' as const), size: fc.integer({ min: 0, max: 200 }) }) },
  fc.record({ kind: fc.constant('reopen' as const) }),
);

test('a bounded journal loses only its oldest lines, and a reader that follows it sees every line once', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const directory = mkdtempSync(join(tmpdir(), 'journal-'));
      const path = join(directory, 'boxes.jsonl');
      let journal = new Journal(path, BYTES_MAX);
      const reader = new BoxesJournal(path);
      const seen: number[] = [];
      let sequence = -1;
      for (const one of steps) {
        if (one.kind === 'append') {
          sequence += 1;
          journal.append({ sequence, dropped: 'x'.repeat(one.size), handler_id: 1 });
        } else {
          journal.close();
          journal = new Journal(path, BYTES_MAX);
        }
        expect(journal.last).toBe(sequence);
        expect(journal.bytes).toBe(statSync(path).size);
        expect(journal.bytes).toBeLessThanOrEqual(BYTES_MAX);
        seen.push(...reader.read().map((line) => line.sequence));
      }
      journal.close();
      expect(seen).toEqual(Array.from({ length: sequence + 1 }, (_, index) => index));
      const kept = [join(directory, 'boxes.1.jsonl'), path].flatMap(sequences);
      expect(kept).toEqual(seen.slice(seen.length - kept.length));
      rmSync(directory, { recursive: true });
    }),
    { numRuns: 100 },
  );
});

function sequences(file: string): number[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => (JSON.parse(line) as { sequence: number }).sequence);
  } catch {
    return [];
  }
}
