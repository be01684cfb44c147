// Generates declarations from Candid interfaces. The client uses the interface of the oldest build, which all newer
// builds understand; the tests use those of every build, of every date at which an interface was released to clients,
// and of the first public release.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const candid = join(here, '..', '..', 'candid');
const bindgen = join(here, 'node_modules', '.bin', 'icp-bindgen');

const generate = (did, folder) => {
  mkdirSync(folder, { recursive: true });
  // No class is generated around the actor: it would send 0, "" and false in an optional field as null.
  const options = ['--actor-disabled', '--declarations-typescript', '--declarations-flat', '--force'];
  const files = ['--did-file', did, '--out-dir', folder];
  execFileSync(bindgen, [...files, ...options], { stdio: ['ignore', 'ignore', 'inherit'] });
  // The generated file declares a parameter that it does not use, which a strict compiler refuses.
  const declarations = join(folder, `${basename(did)}.ts`);
  writeFileSync(declarations, `// @ts-nocheck\n${readFileSync(declarations, 'utf8')}`);
};

generate(join(candid, 'legacy.did'), join(here, 'src', 'declarations'));
const interfaces = [candid, join(here, 'test', 'released')].flatMap((folder) => readdirSync(folder).map((did) => join(folder, did)));
for (const did of [...interfaces, join(here, '..', '..', 'tests', 'golden', 'public-release.did')]) {
  generate(did, join(here, 'test', 'declarations'));
}
