import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { allowedPath } from './allowed-path.js';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'allowed-')));
const inside = join(root, 'pictures');
mkdirSync(join(inside, 'day'), { recursive: true });
mkdirSync(join(root, 'pictures-private'));
writeFileSync(join(inside, 'a.jpg'), '');
writeFileSync(join(root, 'secret'), '');
symlinkSync(join(root, 'secret'), join(inside, 'leak'));
symlinkSync(root, join(inside, 'up'));
symlinkSync(join(inside, 'a.jpg'), join(root, 'entry'));
symlinkSync(inside, join(root, 'alias'));

test.each(['a.jpg', 'day', '', 'day/../a.jpg', 'img_%04d.jpg', 'not/yet/there.jpg'])('%s is inside', (path) => {
  expect(allowedPath(join(inside, path), [inside])).toBe(join(inside, path));
});

test('the directory itself may be reached through a link, and a link may lead inside', () => {
  expect(allowedPath(join(root, 'alias', 'a.jpg'), [inside])).toBe(join(inside, 'a.jpg'));
  expect(allowedPath(join(inside, 'a.jpg'), [join(root, 'alias')])).toBe(join(inside, 'a.jpg'));
  expect(allowedPath(join(root, 'entry'), [inside])).toBe(join(inside, 'a.jpg'));
});

test.each([
  join(root, 'secret'),
  join(inside, 'leak'),
  join(inside, 'up', 'secret'),
  join(inside, 'up', 'new.jpg'),
  `${inside}/../secret`,
  `${inside}/../pictures-private/x`,
  join(inside, 'a.jpg', 'below-a-file'),
])('%s is refused', (path) => {
  expect(() => allowedPath(path, [inside])).toThrow(expect.objectContaining({ code: 'SOURCE_FORBIDDEN' }));
});

test('without allowed directories nothing is allowed', () => {
  expect(() => allowedPath(join(inside, 'a.jpg'), [])).toThrow('is not in a directory that this node allows (none)');
});
