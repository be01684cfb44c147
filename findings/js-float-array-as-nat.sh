#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), typed arrays as arguments
#
# Expected: IDL.encode refuses an array whose elements are not `nat32`, as it does for the same values in a plain array;
#   a Float32Array is accepted as `vec float32` (Candid specification, Memory: elements are encoded at their type).
# Actual: any typed array with elements of the right width is taken as bytes: a Float32Array passes as `vec nat32`,
#   and 1.0 arrives as 1065353216; -1 of an Int8Array arrives as 255. At `vec float32` the Float32Array is refused.
# Affected: browser code that passes on audio samples or canvas data. The canister cannot notice it.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const show = (name, type, value) => {
  let got;
  try { got = [...IDL.decode([type], IDL.encode([type], [value]))[0]].join(' '); } catch { got = 'refused'; }
  console.log(`${name}: ${got}`);
};
show('[1.5] at vec nat32', IDL.Vec(IDL.Nat32), [1.5]);
show('Float32Array [1] at vec nat32', IDL.Vec(IDL.Nat32), new Float32Array([1]));
show('Float64Array [1] at vec nat64', IDL.Vec(IDL.Nat64), new Float64Array([1]));
show('Int8Array [-1] at vec nat8', IDL.Vec(IDL.Nat8), new Int8Array([-1]));
show('Float32Array [1] at vec float32', IDL.Vec(IDL.Float32), new Float32Array([1]));
show('[1] at vec float32', IDL.Vec(IDL.Float32), [1]);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
[1.5] at vec nat32: refused
Float32Array [1] at vec nat32: 1065353216
Float64Array [1] at vec nat64: 4607182418800017408
Int8Array [-1] at vec nat8: 255
Float32Array [1] at vec float32: refused
[1] at vec float32: 1
EOF
