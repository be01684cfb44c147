#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), records with unnamed fields
#
# Expected: `record { nat; text }` is `record { 0 : nat; 1 : text }`; a field that is missing is null where the type is
#   `opt`, and a field that is not expected is skipped (Candid specification, Tuple Fields; Coercion, Records).
# Actual: as soon as the fields are 0, 1, … the decoder requires a tuple of at least as many fields. A reply of the
#   older canister, without the new `opt`, is an error; inside an `opt`, the whole record becomes null without an error;
#   an extra field with a name is an error, too.
# Affected: anyone who extends a tuple as one extends a record. Give fields names before an interface is released.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const show = (name, expected, actual, value) => {
  let got;
  try {
    got = JSON.stringify(IDL.decode([expected], IDL.encode([actual], [value]))[0], (_, v) => typeof v === 'bigint' ? `${v}` : v);
  } catch (e) { got = e.message.replace(/[:,].*/s, ''); }
  console.log(`${name}: ${got}`);
};
const { Record, Tuple, Opt, Vec, Nat, Text, Bool } = IDL;
show('named, new opt field', Record({ a: Nat, b: Text, c: Opt(Bool) }), Record({ a: Nat, b: Text }), { a: 1, b: 'x' });
show('tuple, new opt field', Tuple(Nat, Text, Opt(Bool)), Tuple(Nat, Text), [1, 'x']);
show('vec of opt of that', Vec(Opt(Tuple(Nat, Text, Opt(Bool)))), Vec(Opt(Tuple(Nat, Text))), [[[1, 'x']], [[2, 'y']]]);
show('tuple, one more named field', Tuple(Nat, Text), Record({ _0_: Nat, _1_: Text, note: Bool }), { _0_: 1, _1_: 'x', note: true });
EOF
node probe.mjs > seen
expect_seen <<'EOF'
named, new opt field: {"a":"1","b":"x","c":[]}
tuple, new opt field: Tuple mismatch
vec of opt of that: [[],[]]
tuple, one more named field: Expected type 'record {nat; text}'
EOF
