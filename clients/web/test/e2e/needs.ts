// The programs and files that the tests on a live network need.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..', '..', '..');

export interface Needs {
  binary: string;
  modules: string;
  chromium: string;
}

export const needs: Needs = {
  binary: process.env['POCKET_IC_BIN'] ?? join(root, 'target', 'debug', 'pocket-ic-embedded'),
  modules: process.env['UPLOAD_DIST'] ?? join(root, 'dist'),
  chromium: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
};

const HOW: Record<keyof Needs, string> = {
  binary: 'cargo build -p pocket-ic-embedded',
  modules: 'cargo migrate build',
  chromium: 'apt-get install chromium, or CHROMIUM',
};

/** The reason why a test with these needs cannot run here; false if it can. */
export function lacking(...wanted: Array<keyof Needs>): string | false {
  const missing = wanted.filter((need) => !existsSync(need === 'modules' ? join(needs.modules, 'direct.wasm.gz') : needs[need]));
  return missing.length > 0 && missing.map((need) => `no ${needs[need]}: ${HOW[need]}`).join('; ');
}
