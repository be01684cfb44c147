#!/usr/bin/env bash
# icrc-ledger-types 0.2.0 and candid 0.10.39 (crates.io): the hash of an ICRC-3 value
#
# Expected: an Int is hashed as SHA-256 of its signed LEB128 encoding, and a Nat as SHA-256 of its unsigned LEB128
#   encoding (ICRC-3, Value), so that everyone can verify the chain of blocks with their own program.
# Actual: the crate encodes every Int that is not negative without a sign. The encodings differ where the highest group
#   of seven bits begins with a one: 64 to 127, 8,192 to 16,383, and so on; the numbers of the specification's examples,
#   42 and -42, are not among them.
# Affected: anyone who verifies or writes blocks with an Int (a balance change, a difference in time) with another
#   library: the chain looks broken, at some blocks only. Write Nat.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{Int, Nat};
use icrc_ledger_types::icrc::generic_value::ICRC3Value;
use sha2::{Digest, Sha256};

fn show(name: String, value: ICRC3Value, encoded: Vec<u8>) {
    let (crate_says, specified) = (value.hash(), Sha256::digest(&encoded));
    println!("{name}: {}, encoded {}; the crate: {}, {}", hex::encode(&specified[..4]), hex::encode(&encoded), hex::encode(&crate_says[..4]),
        if crate_says[..] == specified[..] { "the same" } else { "another hash" });
}

fn main() {
    for number in [-42, 42, 63, 64, 127, 128, 8_191, 8_192, -65] {
        let (int, mut encoded) = (Int::from(number), vec![]);
        int.encode(&mut encoded).unwrap();
        show(format!("Int {number}"), ICRC3Value::Int(int), encoded);
    }
    let (nat, mut encoded) = (Nat::from(64u8), vec![]);
    nat.encode(&mut encoded).unwrap();
    show("Nat 64".into(), ICRC3Value::Nat(nat), encoded);
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
hex = "0.4"
icrc-ledger-types = "=0.2.0"
sha2 = "0.10"
EOF
expect_seen <<'EOF'
Int -42: de5a6f78, encoded 56; the crate: de5a6f78, the same
Int 42: 684888c0, encoded 2a; the crate: 684888c0, the same
Int 63: 8a8de823, encoded 3f; the crate: 8a8de823, the same
Int 64: e9aff84f, encoded c000; the crate: c3641f85, another hash
Int 127: ea5dbf95, encoded ff00; the crate: 620bfdaa, another hash
Int 128: 4f2e968b, encoded 8001; the crate: 4f2e968b, the same
Int 8191: b376c8a5, encoded ff3f; the crate: b376c8a5, the same
Int 8192: db64f065, encoded 80c000; the crate: 607b3062, another hash
Int -65: 6771eabe, encoded bf7f; the crate: 6771eabe, the same
Nat 64: c3641f85, encoded 40; the crate: c3641f85, the same
EOF
