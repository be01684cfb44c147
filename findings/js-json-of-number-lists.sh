#!/usr/bin/env bash
# @dfinity/utils 5.0.0 with @icp-sdk/core 6.1.0 (npm), jsonReplacer and jsonReviver
#
# Expected: the two functions preserve the Candid values that JSON cannot represent: bigint, principals, and Uint8Array,
#   which is how a blob is decoded. A value that was written is read back unchanged.
# Actual: @icp-sdk/core decodes a vec of any integer of fixed size as a typed array. All but Uint8Array are written as
#   {"0":1,"1":2}, without their length, and read back as that object: it has no length, a loop over it is a TypeError,
#   and the encoder refuses it. `vec nat` and `vec text` are plain arrays, and are preserved.
# Affected: front ends that keep replies in localStorage, or send them between pages. Make an array of such fields
#   first.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { jsonReplacer, jsonReviver } from '@dfinity/utils';
import { IDL } from '@icp-sdk/core/candid';
for (const name of ['Nat8', 'Nat16', 'Nat64', 'Int32', 'Nat']) {
  const type = IDL.Vec(IDL[name]);
  const reply = IDL.decode([type], IDL.encode([type], [[1, 2]]))[0];
  const kept = JSON.stringify(reply, jsonReplacer), back = JSON.parse(kept, jsonReviver);
  let again;
  try { IDL.encode([type], [back]); again = 'encoded'; } catch { again = 'refused'; }
  console.log(`vec ${name.toLowerCase()}: ${reply.constructor.name} ${kept}, read back: ${back.constructor.name} of length ${back.length}, ${again}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
vec nat8: Uint8Array {"__uint8array__":[1,2]}, read back: Uint8Array of length 2, encoded
vec nat16: Uint16Array {"0":1,"1":2}, read back: Object of length undefined, refused
vec nat64: BigUint64Array {"0":{"__bigint__":"1"},"1":{"__bigint__":"2"}}, read back: Object of length undefined, refused
vec int32: Int32Array {"0":1,"1":2}, read back: Object of length undefined, refused
vec nat: Array [{"__bigint__":"1"},{"__bigint__":"2"}], read back: Array of length 2, encoded
EOF
