import { describe, expect, it } from 'vitest';
import { Hints } from './hints.js';

describe('Hints', () => {
  it('answers when there is news, and once only', async () => {
    const hints = new Hints();
    const first = hints.wait({ wait_ms: 10_000 });
    hints.changed();
    expect(await first).toEqual({ sequence: 1, suspects: [] });
    hints.suspect(3);
    expect(await hints.wait({ after: 1, wait_ms: 10_000 })).toEqual({ sequence: 2, suspects: [3] });
    expect(await hints.wait({ after: 2, wait_ms: 1 })).toEqual({ sequence: 2, suspects: [] });
  });

  it('answers a question that knows more than there is, as after a restart', async () => {
    const hints = new Hints();
    hints.suspect(4);
    expect(await hints.wait({ after: 70, wait_ms: 10_000 })).toEqual({ sequence: 1, suspects: [4] });
  });

  it('tells of a node that is suspected again and again once', async () => {
    const hints = new Hints();
    for (let times = 0; times < 100; times++) hints.suspect(4);
    expect(await hints.wait({ after: 0, wait_ms: 10_000 })).toEqual({ sequence: 1, suspects: [4] });
  });

  it('keeps no more questions than its bound, and none when it is closed', async () => {
    const hints = new Hints();
    const asked = Array.from({ length: 9 }, () => hints.wait({ wait_ms: 60_000 }));
    expect(await asked[0]).toEqual({ sequence: 0, suspects: [] });
    hints.close();
    expect(await Promise.all(asked)).toHaveLength(9);
    expect(await hints.wait({ wait_ms: 60_000 })).toEqual({ sequence: 0, suspects: [] });
  });
});
