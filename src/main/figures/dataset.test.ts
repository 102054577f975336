import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { readDataset } from './dataset.js';

/** A directory with these files. */
function directoryOf(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-dataset-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  return dir;
}

const COCO = {
  images: [{ id: 7, file_name: 'street/a.jpg', width: 640, height: 480 }],
  categories: [{ id: 1, name: 'car', supercategory: 'vehicle' }],
  annotations: [
    { id: 1, image_id: 7, category_id: 1, bbox: [1, 2, 3, 4], area: 12, iscrowd: 0 },
    { id: 2, image_id: 7, category_id: 1, bbox: [10, 20, 30, 40], iscrowd: 1 },
  ],
};

test('reads COCO annotations, people and pairs, and takes the folder of the pictures for no person', () => {
  const dir = directoryOf({
    'annotations.json': JSON.stringify(COCO),
    'street/a.jpg': '',
    'Ada/1.jpg': '',
    'Ada/2.PNG': '',
    'Ada/notes.txt': '',
    'Bo/1.webp': '',
    'pairs.txt': '# one other verdict\nAda/1.jpg Ada/2.PNG same\nAda/1.jpg\tBo/1.webp\tdifferent\n\n',
  });
  const { scenes, portraits, pairs } = readDataset(dir);
  expect(scenes).toEqual([
    {
      path: join(dir, 'street/a.jpg'),
      truth: [
        { label: 'car', x: 1, y: 2, w: 3, h: 4 },
        { label: 'car', x: 10, y: 20, w: 30, h: 40, ignore: true },
      ],
    },
  ]);
  expect(portraits.map(({ person, path }) => `${person} ${path.slice(dir.length + 1)}`)).toEqual([
    'Ada Ada/1.jpg',
    'Ada Ada/2.PNG',
    'Bo Bo/1.webp',
  ]);
  expect(pairs?.map(({ same }) => same)).toEqual([true, false]);
});

test.each([
  [{}, 'holds no annotations.json, no pairs.txt and no folder of pictures'],
  [{ 'annotations.json': '{"images": [' }, 'not valid JSON'],
  [{ 'annotations.json': '{"images": [], "annotations": []}' }, 'categories'],
  [{ 'annotations.json': JSON.stringify(COCO) }, 'names street/a.jpg, which is not there'],
  [
    { 'annotations.json': JSON.stringify({ ...COCO, images: [{ id: 7, file_name: '../../etc/passwd' }] }) },
    'lies outside',
  ],
  [
    { 'annotations.json': JSON.stringify({ ...COCO, categories: [{ id: 2, name: 'car' }] }), 'street/a.jpg': '' },
    'annotations[0]: there is no category 1',
  ],
  [
    {
      'annotations.json': JSON.stringify({
        ...COCO,
        annotations: [{ image_id: 7, category_id: 1, bbox: [1, 2, -3, 4] }],
      }),
      'street/a.jpg': '',
    },
    'bbox',
  ],
  [{ 'pairs.txt': 'a.jpg b.jpg', 'a.jpg': '', 'b.jpg': '' }, 'line 1 is not PICTURE PICTURE same|different'],
  [{ 'pairs.txt': 'a.jpg b.jpg same', 'a.jpg': '', 'b.jpg': '' }, 'needs pairs of both kinds'],
] as const)('refuses %j', (files, named) => {
  expect(() => readDataset(directoryOf(files as Record<string, string>))).toThrow(
    expect.objectContaining({ code: 'DATASET_INVALID', message: expect.stringContaining(named) }),
  );
});

test('refuses what is no directory', () => {
  expect(() => readDataset('/nowhere')).toThrow('/nowhere is no directory');
});
