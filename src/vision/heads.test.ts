import { describe, expect, it } from 'vitest';
import { type Head, readHead, recogniseHead } from './heads.js';

/** One output of [1, rows, columns] in which `fill` sets what is not 0. */
function output(
  rows: number,
  columns: number,
  fill: (set: (row: number, column: number, value: number) => void) => void,
) {
  const data = new Float32Array(rows * columns);
  fill((row, column, value) => {
    data[row * columns + column] = value;
  });
  return { output: { data, dims: [1, rows, columns] } };
}

const INPUT = { width: 64, height: 64, thresh: 0.5 };
const read = (head: Head, outputs: Parameters<typeof readHead>[1]) => readHead(head, outputs, INPUT);
/** Cells of a 64 x 64 input at strides 8, 16 and 32. */
const CELLS = 64 + 16 + 4;

describe('heads read as boxes', () => {
  it('yolov5: centre and size in pixels, class score times objectness', () => {
    const outputs = output(3 * CELLS, 8, (set) => {
      for (const [column, value] of [32, 24, 20, 10, 0.9, 0.1, 0.8, 0].entries()) set(7, column, value);
      for (const [column, value] of [1, 1, 1, 1, 0.9, 0.5, 0, 0].entries()) set(8, column, value);
    });
    const [box, ...others] = read('yolov5', outputs);
    expect(others).toEqual([]);
    expect(box).toMatchObject({ label: 1, x: 22, y: 19, w: 20, h: 10 });
    expect(box!.prob).toBeCloseTo(0.72);
  });

  it('yolov8: a column per place, no objectness', () => {
    const outputs = output(4 + 2, CELLS, (set) => {
      for (const [row, value] of [32, 24, 20, 10, 0.2, 0.75].entries()) set(row, 11, value);
    });
    expect(read('yolov8', outputs)).toEqual([{ label: 1, prob: 0.75, x: 22, y: 19, w: 20, h: 10 }]);
  });

  it('yolox: offsets from the cell and logarithms, in strides', () => {
    // Row 64 + 5 is the cell (1, 1) of the grid of stride 16.
    const outputs = output(CELLS, 6, (set) => {
      for (const [column, value] of [0.5, 0.25, Math.log(2), 0, 1, 0.75].entries()) set(64 + 5, column, value);
    });
    const [box] = read('yolox', outputs);
    expect(box).toMatchObject({ label: 0, prob: 0.75, y: 20 - 8 });
    expect(box!.x).toBeCloseTo(24 - 16, 4);
    expect(box!.w).toBeCloseTo(32, 4);
    expect(box!.h).toBeCloseTo(16, 4);
  });

  it('end_to_end: corners, score, class', () => {
    const outputs = output(300, 6, (set) => {
      for (const [column, value] of [10, 12, 30, 40, 0.75, 3].entries()) set(0, column, value);
    });
    expect(read('end_to_end', outputs)).toEqual([{ label: 3, prob: 0.75, x: 10, y: 12, w: 20, h: 28 }]);
  });

  it('nanodet: expected distances from the cell to its sides', () => {
    const outputs = output(CELLS, 2 + 32, (set) => {
      set(0, 1, 0.75);
      // Certain bins: 1 to the left, 0 up, 2 to the right, 3 down, in strides of 8.
      for (const [side, bin] of [1, 0, 2, 3].entries()) set(0, 2 + side * 8 + bin, 60);
    });
    const [box] = read('nanodet', outputs);
    expect(box).toMatchObject({ label: 1, prob: 0.75 });
    expect([box!.x, box!.y, box!.w, box!.h].map(Math.round)).toEqual([-4, 4, 24, 24]);
  });

  it('ssd: top, left, bottom, right in shares of the input, classes from 1', () => {
    const row = (values: number[], dims: number[]) => ({ data: Float32Array.from(values), dims });
    const outputs = {
      'detection_boxes:0': row([0.25, 0.125, 0.75, 0.5, 0, 0, 1, 1], [1, 2, 4]),
      'detection_scores:0': row([0.75, 0.1], [1, 2]),
      'detection_classes:0': row([3, 1], [1, 2]),
      'num_detections:0': row([2], [1]),
    };
    expect(read('ssd', outputs)).toEqual([{ label: 2, prob: 0.75, x: 8, y: 16, w: 24, h: 32 }]);
  });

  it('ultraface: corners in shares of the input, the second score', () => {
    const outputs = {
      scores: { data: Float32Array.from([0.25, 0.75, 1, 0]), dims: [1, 2, 2] },
      boxes: { data: Float32Array.from([0.125, 0.25, 0.5, 0.75, 0, 0, 1, 1]), dims: [1, 2, 4] },
    };
    expect(read('ultraface', outputs)).toEqual([{ label: 0, prob: 0.75, x: 8, y: 16, w: 24, h: 32 }]);
  });
});

describe('heads told by their shapes', () => {
  const ask = (dims: number[], labels?: number, side = 640) =>
    recogniseHead({ outputs: { output: { dims } }, width: side, height: side, labels });

  it.each([
    [[1, 25_200, 85], undefined, 640, 'yolov5', 80],
    [[1, 84, 8400], undefined, 640, 'yolov8', 80],
    [[1, 5, 8400], undefined, 640, 'yolov8', 1],
    [[1, 8400, 85], undefined, 640, 'yolox', 80],
    [[1, 300, 6], undefined, 640, 'end_to_end', null],
    [[1, 3549, 112], undefined, 416, 'nanodet', 80],
    [[1, 3598, 112], undefined, 416, 'nanodet', 80],
    [[1, 8400, 43], 11, 640, 'nanodet', 11],
    [[1, 8400, 43], 38, 640, 'yolox', 38],
  ] as const)('%j with %s labels at %i is %s of %s classes', (dims, labels, side, head, classes) => {
    expect(ask([...dims], labels, side)).toEqual({ head, classes });
  });

  it('tells SSD and Ultra-Light by their outputs', () => {
    const dims = (shapes: Record<string, number[]>) =>
      recogniseHead({
        outputs: Object.fromEntries(Object.entries(shapes).map(([name, one]) => [name, { dims: one }])),
        width: 300,
        height: 300,
      }).head;
    expect(dims({ boxes: [1, 100, 4], scores: [1, 100], classes: [1, 100], num: [1] })).toBe('ssd');
    expect(dims({ scores: [1, 4420, 2], boxes: [1, 4420, 4] })).toBe('ultraface');
  });

  it('refuses what fits none, or two, and says which', () => {
    expect(() => ask([1, 1000])).toThrow(/output \[1, 1000\]: they fit none of yolov5/);
    expect(() => ask([1, 8400, 43])).toThrow(/yolox of 38 classes and nanodet of 11 classes; state head or labels/);
    expect(() => ask([1, 84, 8400], 3)).toThrow(/yolov8 of 80 classes, not 3 labels/);
  });
});
