#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), import of @icp-sdk/canisters/assets
#
# Expected: the documentation of AssetManager has examples for Node.js, with `import`; the package declares itself a
#   module and has a build for `import`.
# Actual: the import throws `Dynamic require of "fs" is not supported`. The import works once `globalThis.require` is
#   set. All other modules of the package can be imported as they are.
# Affected: scripts that upload to an asset canister from Node.js.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/canisters@3.6.0 @icp-sdk/core@5.4.0 @dfinity/utils@4.2.1
cat > attempt.mjs <<'EOF'
const [, , part] = process.argv;
console.log(part, await import(`@icp-sdk/canisters/${part}`).then(() => 'imported', (error) => error.message));
EOF
cat > with-require.mjs <<'EOF'
import { createRequire } from 'node:module';
globalThis.require = createRequire(import.meta.url);
console.log('assets, with a global require:', await import('@icp-sdk/canisters/assets').then(({ AssetManager }) => typeof AssetManager));
EOF
{ for part in assets ic-management cmc; do node attempt.mjs $part; done; node with-require.mjs; } > seen
expect_seen <<'EOF'
assets Dynamic require of "fs" is not supported
ic-management imported
cmc imported
assets, with a global require: function
EOF
