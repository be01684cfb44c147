// Writes the declarations of the canister's interface: for the client those of the oldest build, which all newer builds
// understand, and for the tests those of every build.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const candid = join(here, '..', '..', 'candid');
const bindgen = join(here, 'node_modules', '.bin', 'icp-bindgen');

const generate = (build, folder) => {
  mkdirSync(folder, { recursive: true });
  // Without the class around the actor, which sends 0, "" and false in an optional field as null.
  const options = ['--actor-disabled', '--declarations-typescript', '--declarations-flat', '--force'];
  const files = ['--did-file', join(candid, `${build}.did`), '--out-dir', folder];
  execFileSync(bindgen, [...files, ...options], { stdio: ['ignore', 'ignore', 'inherit'] });
  // It declares a parameter that it does not use, which a strict compiler refuses.
  const declarations = join(folder, `${build}.did.ts`);
  writeFileSync(declarations, `// @ts-nocheck\n${readFileSync(declarations, 'utf8')}`);
};

generate('legacy', join(here, 'src', 'declarations'));
for (const build of ['legacy', 'staged', 'direct']) {
  generate(build, join(here, 'test', 'declarations'));
}
