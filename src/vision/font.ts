/**
 * The 5 x 7 dot-matrix letters of character displays, drawn into pixels directly, so that labels appear on machines that
 * have no font installed. Each letter is five columns, one byte per column, bit 0 on top; bit 7 is a descender.
 */

export const GLYPH_WIDTH_PX = 6; // five columns and a gap
export const GLYPH_HEIGHT_PX = 8;

// Characters 0x20..0x7e, ten hexadecimal digits each.
const COLUMNS =
  '000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500008070300001c2241000041221c002a1c7f1c2a' +
  '08083e080800807030000808080808000060600020100804023e5149453e00427f400072494949462141494d331814127f102745454539' +
  '3c4a49493141211109073649494936464949291e0000140000004034000000081422411414141414004122140802015909063e415d594e' +
  '7c1211127c7f494949363e414141227f4141413e7f494949417f090909013e414151737f0808087f00417f41002040413f017f08142241' +
  '7f404040407f021c027f7f0408107f3e4141413e7f090909063e4151215e7f09192946264949493203017f01033f4040403f1f2040201f' +
  '3f4038403f631408146303047804036159494d43007f4141410204081020004141417f0402010204404040404000030708002054547840' +
  '7f284444383844444428384444287f385454541800087e090218a4a49c787f0804047800447d40002040403d007f1028440000417f4000' +
  '7c047804787c080404783844444438fc1824241818242418fc7c08040408485454542404043f44243c4040207c1c2040201c3c4030403c' +
  '44281028444c9090907c4464544c440008364100000077000000413608000201020402';

const FIRST = 0x20;
const UNKNOWN = '?'.charCodeAt(0) - FIRST;
const glyphs = Buffer.from(COLUMNS, 'hex');
const COUNT = glyphs.length / 5;

/** Accents are dropped (é -> e); what the font does not have becomes a question mark. One entry per letter. */
export function toGlyphs(text: string): number[] {
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '');
  return Array.from(plain, (letter) => {
    const index = letter.codePointAt(0)! - FIRST;
    return index >= 0 && index < COUNT ? index : UNKNOWN;
  });
}

/** True where letter `glyph` has ink at column 0..4, row 0..7. */
export function glyphInk(glyph: number, column: number, row: number): boolean {
  return ((glyphs[glyph * 5 + column]! >> row) & 1) === 1;
}
