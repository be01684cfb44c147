#!/usr/bin/env bash
# candid 0.10.39 with serde_json 1.0.154 and ciborium 0.2.2 (crates.io), Int through serde
#
# Expected: Int implements Serialize and Deserialize, like Nat; a value that was written in some format can be read back
#   from it (the traits of serde).
# Actual: Int is written as a sign and a list of 32-bit digits, [-1,[5]], but reading expects a number, or bytes that
#   only the Candid decoder provides: "invalid type: sequence, expected Int value", for every value, in JSON and in
#   CBOR. Nat is written as a list, too, and is read back.
# Affected: canisters that keep records as CBOR or JSON in a stable structure: a record with an Int is stored, and after
#   the upgrade nobody can read it. Keep i128, or a text, and test the round trip.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{Int, Nat};
use serde::{de::DeserializeOwned, Serialize};

fn migrate_and_roll_back<T: Serialize + DeserializeOwned + PartialEq>(what: &str, value: T) {
    let said = |read: Result<T, String>| match read {
        Ok(read) => format!("read back, {}", if read == value { "the same" } else { "another" }),
        Err(error) => error,
    };
    let json = serde_json::to_string(&value).unwrap();
    println!("{what}, JSON {json}: {}", said(serde_json::from_str(&json).map_err(|error| error.to_string())));
    let mut cbor = Vec::new();
    ciborium::into_writer(&value, &mut cbor).unwrap();
    let digits: String = cbor.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{what}, CBOR {digits}: {}", said(ciborium::from_reader(cbor.as_slice()).map_err(|error| error.to_string())));
}

fn main() {
    migrate_and_roll_back("Int 0", Int::from(0));
    migrate_and_roll_back("Int 5", Int::from(5));
    migrate_and_roll_back("Int -5", Int::from(-5));
    migrate_and_roll_back("Nat 5", Nat::from(5u8));
    migrate_and_roll_back("list with an Int", vec![Some(Int::from(1))]);
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
serde = "1"
serde_json = "=1.0.154"
ciborium = "=0.2.2"
EOF
expect_seen <<'EOF'
Int 0, JSON [0,[]]: invalid type: sequence, expected Int value at line 1 column 1
Int 0, CBOR 820080: Semantic(None, "invalid type: sequence, expected Int value")
Int 5, JSON [1,[5]]: invalid type: sequence, expected Int value at line 1 column 1
Int 5, CBOR 82018105: Semantic(None, "invalid type: sequence, expected Int value")
Int -5, JSON [-1,[5]]: invalid type: sequence, expected Int value at line 1 column 1
Int -5, CBOR 82208105: Semantic(None, "invalid type: sequence, expected Int value")
Nat 5, JSON [5]: read back, the same
Nat 5, CBOR 8105: read back, the same
list with an Int, JSON [[1,[1]]]: invalid type: sequence, expected Int value at line 1 column 2
list with an Int, CBOR 8182018101: Semantic(None, "invalid type: sequence, expected Int value")
EOF
