#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), AssetManager.store
#
# Expected: `store(bytes, { contentType, headers })` sets the content type and the headers of a file of any size
#   (documentation of StoreConfig: "File content type", "Custom headers to be sent with the asset").
# Actual: up to `maxSingleFileSize` (1,900,000 bytes unless it is set) both are dropped: the type is guessed from the
#   file's name, the asset has no headers. If the file has one byte more, both are set.
# Affected: sites that upload by script: `cache-control` and `content-security-policy` are missing on small files, which
#   most pages and scripts are, and files without a known extension are offered as downloads.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/canisters@3.6.0 @icp-sdk/core@5.4.0 @dfinity/utils@4.2.1
cat > probe.mjs <<'EOF'
import { createRequire } from 'node:module';
import { HttpAgent } from '@icp-sdk/core/agent';
// The package's module calls `require`, which modules of Node.js lack.
globalThis.require = createRequire(import.meta.url);
const { AssetManager } = await import('@icp-sdk/canisters/assets');

const agent = HttpAgent.createSync({ host: 'https://network.example' });
const manager = new AssetManager({ canisterId: 'rrkah-fqaaa-aaaaa-aaaaq-cai', agent });
// Records the calls in place of the canister.
const record = (name) => async (arg) => {
  const asset = name === 'commit_batch' ? arg.operations[0].CreateAsset : arg;
  if ('content_type' in asset) console.log(`${name}: type ${asset.content_type}, headers ${JSON.stringify(asset.headers ?? [])}`);
  return { batch_id: 1n, chunk_id: 1n };
};
manager._actor = new Proxy({}, { get: (_, name) => record(name) });

for (const size of [1_900_000, 1_900_001]) {
  console.log(`${size} bytes`);
  await manager.store(new Uint8Array(size), { fileName: 'photo.raw', contentType: 'image/x-raw', headers: [['cache-control', 'no-store']] });
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1900000 bytes
store: type application/octet-stream, headers []
1900001 bytes
commit_batch: type image/x-raw, headers [[["cache-control","no-store"]]]
EOF
