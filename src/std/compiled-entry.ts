import { fileURLToPath } from 'node:url';

/**
 * The path of a module that another thread or process starts from, as Node can run it: beside the caller in the built
 * program; in dist/ when the caller itself runs from src/ (unit tests), where the entry is TypeScript.
 * `relative` names the built file, for example './worker.js'.
 */
export function compiledEntry(callerUrl: string, relative: string): string {
  const path = fileURLToPath(new URL(relative, callerUrl));
  return callerUrl.endsWith('.ts') ? path.replace(/([\\/])src([\\/])/, '$1dist$2') : path;
}
