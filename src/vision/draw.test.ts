import { expect, it } from 'vitest';
import type { Box, Frame } from '../contracts/packet.js';
import { drawBoxes } from './draw.js';
import { GLYPH_HEIGHT_PX, glyphInk, toGlyphs } from './font.js';

const grey: Frame = { type: 'frame', width: 320, height: 240, data: Buffer.alloc(320 * 240 * 3, 128) };
const box: Box = { label: 'person', prob: 0.87, x: 100, y: 100, w: 60, h: 80 };
const changed = (frame: Frame, x: number, y: number) => frame.data[(y * frame.width + x) * 3] !== 128;

it('draws an outline into a copy and leaves the inside alone', async () => {
  const drawn = await drawBoxes(grey, [box], { labels: false });
  expect(grey.data.every((value) => value === 128)).toBe(true);
  for (const [x, y] of [
    [100, 100],
    [159, 100],
    [100, 179],
    [159, 179],
    [130, 100],
  ] as const) {
    expect(changed(drawn, x, y)).toBe(true);
  }
  for (const [x, y] of [
    [130, 140],
    [99, 140],
    [160, 140],
    [130, 95],
  ] as const)
    expect(changed(drawn, x, y)).toBe(false);
});

it('writes the label above the box, or inside where there is no room', async () => {
  expect(changed(await drawBoxes(grey, [box], { labels: true }), 110, 93)).toBe(true);
  expect(changed(await drawBoxes(grey, [{ ...box, y: 2 }], { labels: true }), 110, 8)).toBe(true);
});

it('keeps to the frame', async () => {
  const wild = [
    { ...box, x: -500, y: -500, w: 5000, h: 5000 },
    { ...box, x: 1000, y: 1000 },
    { ...box, x: 310, y: 230, label: 'a label that is far too long for the place it has, and then some more' },
    { ...box, w: 0, h: 0 },
  ];
  const drawn = await drawBoxes(grey, wild, { labels: true });
  expect(drawn.data).toHaveLength(grey.data.length);
});

it('has ink for every letter and a stand-in for the others', () => {
  const inked = (glyph: number) =>
    [0, 1, 2, 3, 4].some((column) =>
      Array.from({ length: GLYPH_HEIGHT_PX }).some((_, row) => glyphInk(glyph, column, row)),
    );
  for (let code = 0x21; code <= 0x7e; code++) expect(inked(toGlyphs(String.fromCharCode(code))[0]!)).toBe(true);
  expect(toGlyphs('é')).toEqual(toGlyphs('e'));
  expect(toGlyphs('漢')).toEqual(toGlyphs('?'));
});
