#!/usr/bin/env bash
# icpp-candid 6.6.0 (PyPI), the Candid of icpp-pro, and @icp-sdk/core 6.1.0 (npm)
#
# Expected: CandidTypeInt holds an __int128_t; a value that it encodes it can also decode. `int` has no bounds (Candid
#   specification).
# Actual: numbers from 2^63 on are encoded, but decoding them traps: "sleb128 too big for int64". `nat` is read up to
#   2^128 - 1, but not where `int` is expected, although `nat` is a subtype of it.
# Affected: canisters in C++ that receive an amount of 18 decimals as `int`: 9 ckETH can be read, 10 ckETH cannot; tests
#   with small amounts do not show it. Use `nat` for values that are never negative.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icpp.sh"

npm_packages @icp-sdk/core@6.1.0
cat > send.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const hex = (type, value) => Buffer.from(IDL.encode([type], [value])).toString('hex');
console.log(`const char *nat = "${hex(IDL.Nat, 10n * 10n ** 18n)}";`);
for (const tokens of [9n, 10n, -10n]) console.log(`const char *tokens_${`${tokens}`.replace('-', 'minus_')} = "${hex(IDL.Int, tokens * 10n ** 18n)}";`);
EOF
node send.mjs > messages.h
cat > probe.cpp <<'EOF'
#include "probe.h"
#include "messages.h"

std::string of_int(const std::string &message) {
  __int128_t value{0};
  CandidArgs expected;
  expected.append(CandidTypeInt{&value});
  CandidDeserialize(message, expected);
  return ICPP_HOOKS::to_string_128(value);
}

std::string of_nat(const std::string &message) {
  __uint128_t value{0};
  CandidArgs expected;
  expected.append(CandidTypeNat{&value});
  CandidDeserialize(message, expected);
  return ICPP_HOOKS::to_string_128(value);
}

std::string there_and_back(__int128_t value) {
  CandidArgs sent;
  sent.append(CandidTypeInt{value});
  return of_int(CandidSerialize(sent).get_B().as_hex_string());
}

int main() {
  const __int128_t token = 1'000'000'000'000'000'000;
  show("int, 9 tokens from JavaScript", [] { return of_int(tokens_9); });
  show("int, 10 tokens from JavaScript", [] { return of_int(tokens_10); });
  show("int, -10 tokens from JavaScript", [] { return of_int(tokens_minus_10); });
  show("nat, 10 tokens from JavaScript", [] { return of_nat(nat); });
  show("nat at int, 10 tokens from JavaScript", [] { return of_int(nat); });
  show("int, 9 tokens there and back", [&] { return there_and_back(9 * token); });
  show("int, 10 tokens there and back", [&] { return there_and_back(10 * token); });
}
EOF
cpp_program > seen
expect_seen <<'EOF'
int, 9 tokens from JavaScript: 9000000000000000000
int, 10 tokens from JavaScript: trap, ERROR: decoding of Candid byte stream failed.
int, -10 tokens from JavaScript: trap, ERROR: decoding of Candid byte stream failed.
nat, 10 tokens from JavaScript: 10000000000000000000
nat at int, 10 tokens from JavaScript: trap, ERROR: Wrong opcode found on wire.
int, 9 tokens there and back: 9000000000000000000
int, 10 tokens there and back: trap, ERROR: decoding of Candid byte stream failed.
EOF
