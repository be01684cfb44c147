// The package as an application installs it: what `npm run build` has written to dist/.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as esbuild from 'esbuild';

const dist = join(import.meta.dirname, '..', '..', 'dist');
const skip = !existsSync(dist) && `no ${dist}: npm run build`;

test('a bundle that only imports the worker contains it', { skip }, async () => {
  // A package may import itself by its name.
  const stdin = { contents: "import 'upload-client/worker';", resolveDir: import.meta.dirname };
  const { warnings, outputFiles } = await esbuild.build({ stdin, bundle: true, format: 'esm', write: false });
  assert.deepEqual(warnings, []);
  assert.match(outputFiles[0]!.text, /postMessage/);
});

test('a bundle that only imports the errors contains nothing else', { skip }, async () => {
  const contents = "import { UploadError } from 'upload-client'; console.log(UploadError)";
  const stdin = { contents, resolveDir: import.meta.dirname };
  const { outputFiles } = await esbuild.build({ stdin, bundle: true, format: 'esm', minify: true, write: false });
  assert.ok(outputFiles[0]!.text.length < 1_000, `${outputFiles[0]!.text.length} bytes`);
});

test('the source maps contain the sources, which are not packed', { skip }, () => {
  const maps = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.map'));
  assert.ok(maps.length > 20);
  for (const file of maps) {
    const { sources, sourcesContent } = JSON.parse(readFileSync(join(dist, file), 'utf8'));
    assert.equal(sourcesContent?.length, sources.length, file);
  }
});
