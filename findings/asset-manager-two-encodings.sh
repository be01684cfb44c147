#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), AssetManager.batch
#
# Expected: an asset has one content for each encoding (`content_encoding` of SetAssetContent in the interface of the
#   asset canister), so a batch can store a page under one key both uncompressed and compressed with gzip.
# Actual: the batch keeps one hash object for each key, and both contents are hashed with it. `commit` uploads all
#   chunks, then fails with "Hash#digest() has already been called". With two batches it works.
# Affected: deployments by script: the upload has been paid for, and nothing is published.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/canisters@3.6.0 @icp-sdk/core@5.4.0 @dfinity/utils@4.2.1
cat > probe.mjs <<'EOF'
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import { HttpAgent } from '@icp-sdk/core/agent';
// The package's module calls `require`, which modules of Node.js lack.
globalThis.require = createRequire(import.meta.url);
const { AssetManager } = await import('@icp-sdk/canisters/assets');

const agent = HttpAgent.createSync({ host: 'https://network.example' });
const manager = new AssetManager({ canisterId: 'rrkah-fqaaa-aaaaa-aaaaq-cai', agent });
// Records the calls in place of the canister.
let calls = [];
manager._actor = new Proxy({}, { get: (_, name) => async () => (calls.push(name), { batch_id: 1n, chunk_id: 1n }) });

const page = Buffer.from('<p>text</p>'.repeat(100));
const contents = [[page, { fileName: 'index.html' }], [gzipSync(page), { fileName: 'index.html', contentEncoding: 'gzip' }]];
const attempt = async (name, stores) => {
  calls = [];
  let outcome = 'done';
  for (const contents of stores) {
    const batch = manager.batch();
    for (const store of contents) await batch.store(...store);
    await batch.commit().catch((error) => (outcome = error.message));
  }
  console.log(`${name}: ${calls.join(' ')}: ${outcome}`);
};
await attempt('one batch', [contents]);
await attempt('two batches', contents.map((store) => [store]));
EOF
node probe.mjs > seen
expect_seen <<'EOF'
one batch: create_batch create_chunk create_chunk: Hash#digest() has already been called
two batches: create_batch create_chunk commit_batch create_batch create_chunk commit_batch: done
EOF
