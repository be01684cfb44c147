#!/usr/bin/env bash
# icpp-candid 6.6.0 (PyPI), the Candid of icpp-pro, and @icp-sdk/core 6.1.0 (npm)
#
# Expected: arguments are found by their position, and a value that does not fit an `opt` is read as null (Candid
#   specification, Decoding: "optional parameters read as null if the argument is missing or fails to decode"). A null
#   on the wire is a null.
# Actual: an `opt` argument of another type is skipped, and the next one of the expected type is taken in its place. In
#   a record a field of another type is null, or, if it is the last on the wire, a trap. A null leaves the variable at
#   its old value.
# Affected: canisters in C++ that change the type of an optional argument: older clients, who still send a cursor and a
#   limit, get the page that begins at their limit, without an error; "no limit" becomes the limit that the variable had
#   before the arguments were read.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icpp.sh"

npm_packages @icp-sdk/core@6.1.0
cat > send.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const { Opt, Nat64, Record, Text } = IDL;
const send = (name, ...typed) => {
  const bytes = IDL.encode(typed.map(([type]) => type), typed.map(([, value]) => value));
  console.log(`const char *${name} = "${Buffer.from(bytes).toString('hex')}";`);
};
send('older', [Opt(Text), ['item 5']], [Opt(Nat64), [100n]]);
send('newer', [Opt(Nat64), [5n]], [Opt(Nat64), [100n]]);
send('nulls', [Opt(Nat64), []], [Opt(Nat64), []]);
send('in_the_middle', [Record({ a: Opt(Nat64), b: Opt(Text), c: Opt(Nat64) }), { a: [1n], b: ['x'], c: [3n] }]);
send('at_the_end', [Record({ a: Opt(Nat64), b: Opt(Nat64), c: Opt(Text) }), { a: [1n], b: [2n], c: ['x'] }]);
EOF
node send.mjs > messages.h
cat > probe.cpp <<'EOF'
#include "probe.h"
#include "messages.h"

// A method whose arguments are (opt nat64, opt nat64).
std::string page(const char *message, std::optional<uint64_t> limit = {}) {
  std::optional<uint64_t> first;
  CandidArgs expected;
  expected.append(CandidTypeOptNat64{&first});
  expected.append(CandidTypeOptNat64{&limit});
  CandidDeserialize(message, expected);
  return "first " + text(first) + ", limit " + text(limit);
}

// A method whose argument is record { a : opt nat64; b : opt nat64; c : opt nat64 }.
std::string fields(const char *message) {
  std::optional<uint64_t> a, b, c;
  CandidTypeRecord record;
  record.append("a", CandidTypeOptNat64{&a});
  record.append("b", CandidTypeOptNat64{&b});
  record.append("c", CandidTypeOptNat64{&c});
  CandidArgs expected;
  expected.append(record);
  CandidDeserialize(message, expected);
  return text(a) + ", " + text(b) + ", " + text(c);
}

int main() {
  show("(opt 5, opt 100)", [] { return page(newer); });
  show("(opt \"item 5\", opt 100)", [] { return page(older); });
  show("(null, null), limit 20 set before", [] { return page(nulls, 20); });
  show("{ a = opt 1; b = opt \"x\"; c = opt 3 }", [] { return fields(in_the_middle); });
  show("{ a = opt 1; b = opt 2; c = opt \"x\" }", [] { return fields(at_the_end); });
}
EOF
cpp_program > seen
expect_seen <<'EOF'
(opt 5, opt 100): first 5, limit 100
(opt "item 5", opt 100): first 100, limit null
(null, null), limit 20 set before: first null, limit 20
{ a = opt 1; b = opt "x"; c = opt 3 }: 1, null, 3
{ a = opt 1; b = opt 2; c = opt "x" }: trap, ERROR: Did not receive expected field at index 2
EOF
