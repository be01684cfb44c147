#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), vectors of numbers of fixed size
#
# Expected: `vec nat` is not a subtype of `vec nat8`, so reading it there is an error; at `opt vec nat8` it is null, and
#   the values after it are read as sent (Candid specification, Coercion: Vectors, Options).
# Actual: at `vec nat8`, `vec int8`, `vec nat16` … the element type of the message is never checked; the bytes are taken
#   as they are. Values below 128 look right; others shift everything that follows, so that a text turns into another
#   text. At `opt`, the result is not null, but wrong numbers or an error.
# Affected: a front end whose `.did` is older than the canister: numbers that are silently wrong only from 128 on.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const show = (name, expected, actual, value) => {
  let got;
  try {
    got = JSON.stringify(IDL.decode([expected], IDL.encode([actual], [value]))[0],
      (_, v) => typeof v === 'bigint' ? `${v}` : ArrayBuffer.isView(v) ? [...v].map(String) : v);
  } catch (e) { got = `error, ${e.message}`; }
  console.log(`${name}: ${got}`);
};
const { Record, Opt, Vec, Nat, Nat8, Int8, Bool, Text } = IDL;
show('vec nat {1; 2} at vec nat8', Vec(Nat8), Vec(Nat), [1, 2]);
show('vec nat {1; 300} at vec nat8', Vec(Nat8), Vec(Nat), [1, 300]);
show('opt vec nat {1; 2} at opt vec nat8', Opt(Vec(Nat8)), Opt(Vec(Nat)), [[1, 2]]);
show('opt vec bool at opt vec int8', Opt(Vec(Int8)), Opt(Vec(Bool)), [[true, false]]);
show('opt vec nat {300}, then the text "x"', Record({ a: Opt(Vec(Nat8)), b: Text }), Record({ a: Opt(Vec(Nat)), b: Text }),
  { a: [[300]], b: 'x' });
show('opt vec text at opt vec nat, for comparison', Opt(Vec(Nat)), Opt(Vec(Text)), [['x']]);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
vec nat {1; 2} at vec nat8: ["1","2"]
vec nat {1; 300} at vec nat8: error, decode: Left-over bytes
opt vec nat {1; 2} at opt vec nat8: [["1","2"]]
opt vec bool at opt vec int8: [["1","0"]]
opt vec nat {300}, then the text "x": {"a":[["172"]],"b":"\u0001x"}
opt vec text at opt vec nat, for comparison: []
EOF
