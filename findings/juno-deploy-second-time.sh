#!/usr/bin/env bash
# @junobuild/cli-tools 0.10.0 (npm), deploy, with its default precompress
#
# Expected: scripts, styles and pages are compressed, and sent both as they are and with gzip, or in mode "replace" only
#   with gzip (@junobuild/config, HostingConfig.precompress), in every deployment.
# Actual: the compressed files are written next to the others and stay there. In the next deployment a file with that
#   name is part of the site: page.html.gz is sent as a separate page, and /page.html without a gzip version, so that
#   the canister keeps the old gzip version. In mode "replace" the page is then sent uncompressed.
# Affected: anyone who deploys twice without a build that empties the folder: pages of plain HTML, folders kept by a
#   cache. Delete *.gz of the compressed files before each deployment.
. "$(dirname "$0")/lib/common.sh"
. "$lib/juno-deploy.sh"

cat > probe.mjs <<'EOF'
import { gunzipSync } from 'node:zlib';
import { rmSync } from 'node:fs';
import { deployed, write } from './juno-deploy.mjs';

for (const mode of ['both', 'replace']) {
  rmSync('build/page.html.gz', { force: true });
  for (const day of ['Monday', 'Friday']) {
    write('page.html', `<p>${day}</p>`);
    const uploaded = await deployed({ precompress: { mode } });
    const shown = uploaded.map(({ path, encoding, content }) => `${path} (${encoding}) ${encoding === 'gzip' ? gunzipSync(content) : content}`);
    console.log(`${mode}, ${day}: ${shown.join(', ')}`);
  }
}
EOF
node probe.mjs 2> progress | grep -a '^both\|^replace' > seen
expect_seen <<'EOF'
both, Monday: /page.html (gzip) <p>Monday</p>, /page.html (identity) <p>Monday</p>
both, Friday: /page.html (identity) <p>Friday</p>, /page.html.gz (gzip) <p>Friday</p>
replace, Monday: /page.html (gzip) <p>Monday</p>
replace, Friday: /page.html (identity) <p>Friday</p>, /page.html.gz (gzip) <p>Friday</p>
EOF
