#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), `opt reserved`, `opt null` and `opt opt …`
#
# Expected: every value is decoded at an `opt`, to null in the worst case; a record or a vec at `opt reserved` is
#   `opt null` (Candid specification, Coercion, Options).
# Actual: a number is read (to null), but a record, a variant or a vec throws, with a message that names the same type
#   on both sides.
# Affected: anyone who retires a field by giving it the type `opt reserved`, or reads a text or blob at `opt opt`:
#   every reply with a value in that place fails. `reserved` and `opt empty` work.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const { Record, Opt, Vec, Nat, Nat8, Reserved, Empty, Null } = IDL;
const show = (name, expected, actual, value) => {
  let got;
  try { got = JSON.stringify(IDL.decode([expected], IDL.encode([actual], [value]))[0]); } catch (e) { got = e.message; }
  console.log(`${name}: ${got}`);
};
const retired = (type) => Record({ old: type });
show('nat at opt reserved', retired(Opt(Reserved)), retired(Nat), { old: 1 });
show('vec at opt reserved', retired(Opt(Reserved)), retired(Vec(Nat)), { old: [1] });
show('record at opt null', retired(Opt(Null)), retired(Record({ a: Nat })), { old: { a: 1 } });
show('blob at opt opt blob', Opt(Opt(Vec(Nat8))), Vec(Nat8), [1]);
show('vec at reserved', retired(Reserved), retired(Vec(Nat)), { old: [1] });
show('vec at opt empty', retired(Opt(Empty)), retired(Vec(Nat)), { old: [1] });
EOF
node probe.mjs > seen
expect_seen <<'EOF'
nat at opt reserved: {"old":[]}
vec at opt reserved: type mismatch: type on the wire vec nat, expect type vec nat
record at opt null: type mismatch: type on the wire record {_97_:nat}, expect type record {_97_:nat}
blob at opt opt blob: type mismatch: type on the wire vec nat8, expect type vec nat8
vec at reserved: {"old":null}
vec at opt empty: {"old":[]}
EOF
