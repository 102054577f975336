/** `check` with the handler types that this build has. */
import { type CheckResult, checkPaths } from '../config/check.js';
import { builtInTypes } from './handler-types.js';

export function checkConfiguration(paths: readonly string[]): CheckResult {
  return checkPaths(paths, builtInTypes());
}
