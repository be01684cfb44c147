#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), a snapshot of a canister whose globals are floating-point numbers
#
# Expected: a snapshot that icp has downloaded can be uploaded again. Its globals may be f32 and f64 with every value that
#   WebAssembly has, such as infinity (Internet Computer interface specification, read_canister_snapshot_metadata).
# Actual: metadata.json has no number for infinity and for what is not a number, so `icp canister snapshot download`
#   writes `null` and says success. `icp canister snapshot upload` then refuses the folder: "invalid type: null, expected
#   f64". Whether it was infinity, its negative or not a number cannot be seen from the file. Other values are kept.
# Affected: canisters in languages whose variables become globals of the module, such as AssemblyScript, with a variable
#   like a smallest price that starts at infinity: their backup proves to be useless when it is needed. Look for `null` in
#   the globals of metadata.json after each download.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages
cat > network-of-one.mjs <<'EOD'
import fs from 'node:fs';
import { manage, serve } from './icp-network.mjs';
const management = {
  read_canister_snapshot_metadata: () => ({
    source: { taken_from_canister: null }, taken_at_timestamp: 1n, wasm_module_size: 8n, wasm_memory_size: 0n, stable_memory_size: 0n,
    globals: [{ i64: 7n }, { f64: Number(fs.readFileSync('value', 'utf8')) }], wasm_chunk_store: [], canister_version: 1n,
    certified_data: new Uint8Array(), global_timer: [], on_low_wasm_memory_hook_status: [],
  }),
  read_canister_snapshot_data: ({ kind }) => ({ chunk: new Uint8Array(Number(Object.values(kind)[0].size)) }),
  upload_canister_snapshot_metadata: ({ globals }) => {
    fs.writeFileSync('uploaded', String(globals[1].f64));
    return { snapshot_id: new Uint8Array([2]) };
  },
};
serve(({ method_name, arg }) => manage(management, method_name, arg));
EOD
start_network network-of-one.mjs
snapshot() { icp canister snapshot "$@" -n "$(cat address)" -k "$(cat root-key)" > icp.log 2>&1; }
{
  for value in 0.1 5e-324 Infinity -Infinity NaN; do
    echo -n $value > value
    snapshot download rrkah-fqaaa-aaaaa-aaaaq-cai 01 -o "snapshot-of-$value" || give_up icp.log
    if snapshot upload rrkah-fqaaa-aaaaa-aaaaq-cai -i "snapshot-of-$value"; then
      echo "$value: downloaded, uploaded as $(cat uploaded)"
    else
      echo "$value: downloaded, $(grep -o -m 1 'invalid type: null, expected f64' icp.log)"
    fi
  done
} > seen
expect_seen <<'EOD'
0.1: downloaded, uploaded as 0.1
5e-324: downloaded, uploaded as 5e-324
Infinity: downloaded, invalid type: null, expected f64
-Infinity: downloaded, invalid type: null, expected f64
NaN: downloaded, invalid type: null, expected f64
EOD
