import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { allowedPath, allowedUrl } from './allowed-path.js';

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

test.each([
  ['rtsp://cam:554/live', 'rtsp://'],
  ['rtsp://user:secret@cam/live', 'rtsp://cam'],
  ['http://cam:8080/a/stream.mjpeg?x=1', 'http://cam:8080/a'],
  ['http://cam/a', 'http://cam/a/'],
])('%s is allowed by %s', (url, entry) => {
  expect(allowedUrl(url, ['/somewhere', entry])).toBe(new URL(url).href);
});

test.each([
  ['http://other/a', 'http://cam/'],
  ['http://cam:81/a', 'http://cam/'],
  ['https://cam/a', 'http://cam/'],
  ['http://cam/ab', 'http://cam/a'],
  ['http://cam/a/../b', 'http://cam/a'],
  ['http://cam.evil/', 'http://cam'],
  ['http://user:secret@other/', 'http://cam'],
  ['http://', 'http://cam'],
  ['http://cam/', '/somewhere'],
])('%s is not allowed by %s', (url, entry) => {
  const act = () => allowedUrl(url, [entry]);
  expect(act).toThrow(expect.objectContaining({ code: 'SOURCE_FORBIDDEN' }));
  expect(act).not.toThrow(/secret/);
});

test('an address among the allowed allows no path', () => {
  expect(() => allowedPath('rtsp:/cam', ['rtsp://cam'])).toThrow('allows (none)');
});
