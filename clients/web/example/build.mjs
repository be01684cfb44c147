// Bundles the page and its worker into example/dist, and serves them with `--serve`.

import { cpSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const outdir = join(here, 'dist');

const context = await esbuild.context({
  // The worker ends up next to the page, where `workerHasher` looks for it.
  entryPoints: { page: join(here, 'page.ts'), worker: join(here, '..', 'src', 'hash', 'worker.ts') },
  outdir,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  sourcemap: true,
  legalComments: 'linked',
});
await context.rebuild();
mkdirSync(outdir, { recursive: true });
for (const file of ['index.html', 'page.css']) {
  cpSync(join(here, file), join(outdir, file));
}
if (process.argv.includes('--serve')) {
  const { hosts, port } = await context.serve({ servedir: outdir, host: '127.0.0.1' });
  console.log(`http://${hosts[0]}:${port}/?canister=<id>&network=<url>&rootKey=<hex>`);
} else {
  await context.dispose();
}
