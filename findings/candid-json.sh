#!/usr/bin/env bash
# candid 0.10.39, serde_json 1 and ciborium 0.2.2 (crates.io), @icp-sdk/core 6.1.0 (npm): Candid values outside Candid
#
# Expected: a natural number is written as a number, or as text where it is too large (RFC 8259, 6), and other parsers
#   can read it.
# Actual: Nat is serialised as the list of its 32-bit digits, smallest first: 5 is [5], 2^32 is [0,1], and Int has its
#   sign before the digits; the same holds for CBOR. As text, a number has underscores, 1_000_000, which no other parser
#   accepts. A principal is a text in Rust's JSON and an object { "__principal__": … } in JavaScript's.
# Affected: reports, logs and metrics with balances or sizes: 5 looks right enough in brackets, 10 billion does not.
#   Use u64 or u128, or `nat.0.to_string()`.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
mkdir src
cat > src/main.rs <<'EOF'
use candid::{Int, Nat, Principal};

fn main() {
    let large = Nat::from(10_000_000_000u64);
    println!("JSON: {} {} {}", serde_json::to_string(&Nat::from(5u8)).unwrap(), serde_json::to_string(&large).unwrap(),
        serde_json::to_string(&Int::from(-5)).unwrap());
    let mut cbor = vec![];
    ciborium::into_writer(&large, &mut cbor).unwrap();
    println!("CBOR: {}", cbor.iter().map(|b| format!("{b:02x}")).collect::<String>());
    println!("text: {large}, read as u64: {}", large.to_string().parse::<u64>().map_or_else(|e| e.to_string(), |n| n.to_string()));
    println!("principal, Rust: {}", serde_json::to_string(&Principal::anonymous()).unwrap());
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
ciborium = "=0.2.2"
serde_json = "1"
EOF
node --input-type=module -e "
  import { Principal } from '@icp-sdk/core/principal';
  console.log('principal, JavaScript:', JSON.stringify(Principal.anonymous()));" >> seen
expect_seen <<'EOF'
JSON: [5] [1410065408,2] [-1,[5]]
CBOR: 821a540be40002
text: 10_000_000_000, read as u64: invalid digit found in string
principal, Rust: "2vxsx-fae"
principal, JavaScript: {"__principal__":"2vxsx-fae"}
EOF
