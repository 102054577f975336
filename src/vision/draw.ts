/**
 * Boxes and labels drawn straight into a copy of the frame's pixels: no font, no SVG, about the cost of copying the frame.
 * Line width and letters grow with the frame, so that they stay readable when a large picture is shown small.
 */
import { attributesText, type Box, type Frame } from '../contracts/packet.js';
import { GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX, glyphInk, toGlyphs } from './font.js';

type Colour = readonly [number, number, number];

/** Distinct on light and dark ground, told apart by colour-blind readers too (Okabe and Ito 2008). */
const PALETTE: readonly Colour[] = [
  [0, 158, 115],
  [230, 159, 0],
  [86, 180, 233],
  [204, 121, 167],
  [240, 228, 66],
  [213, 94, 0],
  [0, 114, 178],
];

/** Longest label that is drawn, letters; a runaway label must not cost a frame's time. */
const LABEL_LETTERS_MAX = 48;

interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

/**
 * A copy of `frame` with a rectangle per box, and above it the label with its probability in percent, what else is
 * known of it (and the note).
 * The colour belongs to the label, so that one name keeps its colour from frame to frame.
 */
export async function drawBoxes(
  frame: Frame,
  boxes: readonly Box[],
  options: { readonly labels: boolean } = { labels: true },
): Promise<Frame> {
  const canvas = { width: frame.width, height: frame.height, data: Buffer.from(frame.data) };
  const dot = Math.max(1, Math.round(Math.min(frame.width, frame.height) / 280));
  for (const box of boxes) drawOutline(canvas, box, dot, colourOf(box.label));
  if (options.labels) for (const box of boxes) drawLabel(canvas, box, dot, colourOf(box.label));
  return { type: 'frame', ...canvas };
}

function colourOf(label: string): Colour {
  let hash = 0;
  for (let i = 0; i < label.length; i++) hash = (hash * 31 + label.charCodeAt(i)) >>> 0;
  return PALETTE[hash % PALETTE.length]!;
}

/** Fills x0 <= x < x1, y0 <= y < y1, cut to the canvas: one row is painted, the others are copied from it. */
function fill(canvas: Canvas, x0: number, y0: number, x1: number, y1: number, [r, g, b]: Colour): void {
  const left = Math.max(0, Math.min(x0, canvas.width));
  const right = Math.max(left, Math.min(x1, canvas.width));
  const top = Math.max(0, y0);
  const bottom = Math.min(y1, canvas.height);
  if (right <= left || bottom <= top) return;
  const first = (top * canvas.width + left) * 3;
  const bytes = (right - left) * 3;
  for (let at = first; at < first + bytes; at += 3) {
    canvas.data[at] = r;
    canvas.data[at + 1] = g;
    canvas.data[at + 2] = b;
  }
  for (let y = top + 1; y < bottom; y++) {
    canvas.data.copyWithin(first + (y - top) * canvas.width * 3, first, first + bytes);
  }
}

function drawOutline(canvas: Canvas, box: Box, line: number, colour: Colour): void {
  const x0 = Math.round(box.x);
  const y0 = Math.round(box.y);
  const x1 = Math.round(box.x + box.w);
  const y1 = Math.round(box.y + box.h);
  fill(canvas, x0, y0, x1, y0 + line, colour);
  fill(canvas, x0, y1 - line, x1, y1, colour);
  fill(canvas, x0, y0, x0 + line, y1, colour);
  fill(canvas, x1 - line, y0, x1, y1, colour);
}

/** The label on a ground of its colour, above the box where there is room, else inside it; kept within the frame. */
function drawLabel(canvas: Canvas, box: Box, dot: number, colour: Colour): void {
  const facts = [box.label, `${Math.round(box.prob * 100)}%`, attributesText(box.attributes)];
  const text = `${facts.filter((fact) => fact !== '').join(' ')}${box.note ? ` (${box.note})` : ''}`;
  const letters = toGlyphs(text).slice(0, LABEL_LETTERS_MAX);
  const width = letters.length * GLYPH_WIDTH_PX * dot + dot;
  const height = (GLYPH_HEIGHT_PX + 2) * dot;
  const x = Math.max(0, Math.min(Math.round(box.x), canvas.width - width));
  const above = Math.round(box.y) - height;
  const y = above >= 0 ? above : Math.max(0, Math.min(Math.round(box.y), canvas.height - height));
  fill(canvas, x, y, x + width, y + height, colour);
  const [r, g, b] = colour;
  const ink: Colour = r * 0.299 + g * 0.587 + b * 0.114 > 140 ? [0, 0, 0] : [255, 255, 255];
  letters.forEach((glyph, index) => {
    drawGlyph(canvas, glyph, x + dot + index * GLYPH_WIDTH_PX * dot, y + dot, dot, ink);
  });
}

function drawGlyph(canvas: Canvas, glyph: number, x: number, y: number, dot: number, ink: Colour): void {
  for (let column = 0; column < 5; column++) {
    for (let row = 0; row < GLYPH_HEIGHT_PX; row++) {
      if (!glyphInk(glyph, column, row)) continue;
      fill(canvas, x + column * dot, y + row * dot, x + (column + 1) * dot, y + (row + 1) * dot, ink);
    }
  }
}
