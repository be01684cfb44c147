#!/usr/bin/env bash
# icpp-candid 6.6.0 (PyPI), the Candid of icpp-pro, and @icp-sdk/core 6.1.0 (npm)
#
# Expected: fields and arguments that the method does not know are ignored, whatever their types (Candid specification,
#   Records: "a field can be added"; Decoding: "extra arguments are ignored").
# Actual: only new fields and arguments of type `opt` are skipped. One of any other type, including `reserved`, makes
#   the call trap.
# Affected: services of several canisters in which those in C++ are upgraded last: until then, each call from a newer
#   client or canister that has added a field fails. New fields must be `opt` on the sender's side, too.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icpp.sh"

npm_packages @icp-sdk/core@6.1.0
cat > send.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const { Opt, Nat64, Record, Reserved, Text, Vec, Nat8 } = IDL;
const send = (name, ...typed) => {
  const bytes = IDL.encode(typed.map(([type]) => type), typed.map(([, value]) => value));
  console.log(`const char *${name} = "${Buffer.from(bytes).toString('hex')}";`);
};
const known = { name: 'x', size: 1n };
send('as_known', [Record({ name: Text, size: Nat64 }), known]);
send('new_opt', [Record({ name: Text, size: Nat64, note: Opt(Text) }), { ...known, note: ['new'] }]);
send('new_text', [Record({ name: Text, size: Nat64, note: Text }), { ...known, note: 'new' }]);
send('new_blob', [Record({ name: Text, size: Nat64, digest: Vec(Nat8) }), { ...known, digest: [1] }]);
send('new_reserved', [Record({ name: Text, size: Nat64, note: Reserved }), { ...known, note: null }]);
send('new_opt_argument', [Record({ name: Text, size: Nat64 }), known], [Opt(Text), ['new']]);
send('new_argument', [Record({ name: Text, size: Nat64 }), known], [Text, 'new']);
EOF
node send.mjs > messages.h
cat > probe.cpp <<'EOF'
#include "probe.h"
#include "messages.h"

// A method whose argument is record { name : text; size : nat64 }.
std::string store(const char *message) {
  std::string name;
  uint64_t size{0};
  CandidTypeRecord record;
  record.append("name", CandidTypeText{&name});
  record.append("size", CandidTypeNat64{&size});
  CandidArgs expected;
  expected.append(record);
  CandidDeserialize(message, expected);
  return name + ", " + std::to_string(size);
}

int main() {
  show("as it is known", [] { return store(as_known); });
  show("with a new field note : opt text", [] { return store(new_opt); });
  show("with a new field note : text", [] { return store(new_text); });
  show("with a new field digest : blob", [] { return store(new_blob); });
  show("with a new field note : reserved", [] { return store(new_reserved); });
  show("with a second argument, opt text", [] { return store(new_opt_argument); });
  show("with a second argument, text", [] { return store(new_argument); });
}
EOF
cpp_program > seen
expect_seen <<'EOF'
as it is known: x, 1
with a new field note : opt text: x, 1
with a new field note : text: trap, ERROR: Wrong id (hash) of a non-opt record field on wire.
with a new field digest : blob: trap, ERROR: Done with all the expected Record fields, but there is an additional non Opt field on the wire.
with a new field note : reserved: trap, ERROR: Wrong id (hash) of a non-opt record field on wire.
with a second argument, opt text: x, 1
with a second argument, text: trap, ERROR: Done with all the expected args, but there is an additional non Opt arg on the wire.
EOF
