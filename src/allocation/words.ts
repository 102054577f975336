/** Numbers and names as reasons print them: a need is rounded up and what is free down, so that no sentence says 5 > 5. */

export const ms = (value: number): string => `${value.toFixed(1)} ms`;

/** Up to four decimals, no trailing zeros: 0.97. */
export const accuracyText = (value: number): string => String(Number(value.toFixed(4)));

export const needWhole = (value: number): string => String(Math.ceil(value - 1e-6));

export const freeWhole = (value: number): string => String(Math.floor(value + 1e-6));

export const needTenth = (value: number): string => (Math.ceil(value * 10 - 1e-6) / 10).toFixed(1);

export const freeTenth = (value: number): string => (Math.floor(value * 10 + 1e-6) / 10).toFixed(1);

export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

export function listed(names: readonly string[], max: number): string {
  const rest = names.length - max;
  return rest > 0 ? `${names.slice(0, max).join(', ')} and ${rest} more` : names.join(', ');
}
