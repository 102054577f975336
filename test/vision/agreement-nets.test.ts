/** The nets described by hand give what face-api gives on the same real picture. */
import { expect, it } from 'vitest';
import { loadModel } from '../../src/vision/model-cache.js';
import { expectAgreement, runOnnx } from './agreement.testing.js';
import { squareSample } from './samples.testing.js';
import { runNet } from './tfjs.testing.js';

it.each([
  ['face_landmark_68', 'faceLandmark68Net', 'points', 112],
  ['face_landmark_68_tiny', 'faceLandmark68TinyNet', 'points', 112],
  ['face_recognition', 'faceRecognitionNet', 'descriptor', 150],
  ['tiny_face_detector', 'tinyFaceDetector', 'grid', 224],
  ['tiny_face_detector', 'tinyFaceDetector', 'grid', 416],
] as const)(
  '%s agrees with TensorFlow.js',
  async (model, net, output, size) => {
    const pixels = await squareSample(1, size);
    const [expected] = await runNet(model, net, pixels, size);
    expectAgreement((await runOnnx(await loadModel(model), pixels, size))[output], expected!);
  },
  60_000,
);

it('ssd_mobilenetv1 agrees with TensorFlow.js', async () => {
  const pixels = await squareSample(2, 512);
  const expected = await runNet('ssd_mobilenetv1', 'ssdMobilenetv1', pixels, 512);
  expect(expected).toHaveLength(2);
  const { boxes, scores } = await runOnnx(await loadModel('ssd_mobilenetv1'), pixels, 512);
  expectAgreement(boxes, expected[0]!);
  expectAgreement(scores, expected[1]!);
}, 120_000);

it('age_gender agrees with TensorFlow.js', async () => {
  const pixels = await squareSample(1, 112);
  const expected = await runNet('age_gender', 'ageGenderNet', pixels, 112);
  expect(expected).toHaveLength(2);
  const { age, gender } = await runOnnx(await loadModel('age_gender'), pixels, 112);
  expectAgreement(age, expected[0]!);
  expectAgreement(gender, expected[1]!);
});
