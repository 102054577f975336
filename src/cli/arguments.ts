/** Words of the command line as values; what does not fit is a usage error that names the value and the form. */
import { usage } from './output.js';

/** `80ms`, `0.5s`, `5m`, `12h`, `30d` or `80` (ms), in ms. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null) throw usage(`${text} is no duration; write for example 80ms or 1.5s`);
  const factor = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] ?? 'ms'] ?? 1;
  return Number(match[1]) * factor;
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw usage(`${text} is no number`);
  return value;
}

export function integer(text: string): number {
  const value = number(text);
  if (!Number.isInteger(value) || value < 0) throw usage(`${text} is no whole number >= 0`);
  return value;
}

/** `3` as a number, a name as text. */
export function idOrName(text: string): number | string {
  return /^\d+$/.test(text) ? Number(text) : text;
}

export type HandlerParams = Record<string, Record<string, unknown>>;

/** `handler.name=value`, gathered over repetitions; values are JSON where they parse as such, else text. */
export function handlerParam(text: string, previous: HandlerParams = {}): HandlerParams {
  const match = /^([^.=\s]+)\.([^=\s]+)=(.*)$/s.exec(text);
  if (match === null)
    throw usage(`${text} is no parameter; write handler.name=value, for example recognize.thresh=0.5`);
  const [, handler = '', name = '', value = ''] = match;
  return { ...previous, [handler]: { ...previous[handler], [name]: jsonOrText(value) } };
}

export type NodeShapes = Readonly<Record<string, { readonly rttMs: number; readonly mbit: number }>>;

/** `node=RTT_MS,MBIT`, gathered over repetitions. */
export function nodeShape(text: string, previous: NodeShapes = {}): NodeShapes {
  const match = /^([^=\s]+)=([\d.]+),([\d.]+)$/.exec(text);
  if (match === null) throw usage(`${text} is no shape; write node=RTT_MS,MBIT, for example node-1=20,100`);
  const [, node = '', rttMs = '', mbit = ''] = match;
  return { ...previous, [node]: { rttMs: number(rttMs), mbit: number(mbit) } };
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
