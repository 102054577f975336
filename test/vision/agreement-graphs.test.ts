/** The converted graph models give what TensorFlow.js gives on the same real picture. */
import { expect, it } from 'vitest';
import { findModel } from '../../src/vision/catalogue.js';
import { expectAgreement, runOnnx, withOwnOutputs } from './agreement.testing.js';
import { squareSample } from './samples.testing.js';
import { runGraph } from './tfjs.testing.js';

it.each([
  ['blazeface', 256],
  ['faceres', 224],
  ['antispoof', 128],
  ['liveness', 32],
  ['centernet', 512],
] as const)(
  '%s agrees with TensorFlow.js',
  async (model, size) => {
    const pixels = await squareSample(3, size);
    const { outputs, normalisation } = findModel(model).graph!;
    const names = Object.keys(outputs);
    const expected = await runGraph(model, pixels, size, {
      outputs: names.map((name) => outputs[name]!.node),
      mean: normalisation?.mean[0] ?? 0,
      scale: normalisation?.scale ?? 1,
    });
    const actual = await runOnnx(await withOwnOutputs(model), pixels, size);
    expect(expected).toHaveLength(names.length);
    for (const [index, name] of names.entries()) expectAgreement(actual[name], expected[index]!);
  },
  120_000,
);
