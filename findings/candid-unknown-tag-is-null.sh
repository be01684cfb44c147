#!/usr/bin/env bash
# candid 0.10.39 (crates.io), an optional choice that the receiver does not know
#
# Expected by most: a canister that knows only sha256 and blake3 answers `opt variant { sha3 }` with an error, as it
#   does for `variant { sha3 }`.
# Actual, and what the specification says (Coercion, Options: "Any other value goes to null"): the argument is null, and
#   the default is taken. The same happens if the argument is a text or a number, or a misspelt `blake3` from a tool
#   without the `.did`.
# Affected: a client that is newer than the canister, or one that meets the older build after a rollback: it gets
#   another algorithm than it asked for, without an error. The service cannot notice it, so its reply should name the
#   algorithm, and the client should compare.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{CandidType, Decode, Deserialize, Encode};

#[derive(CandidType, Deserialize, Debug)]
#[allow(non_camel_case_types, dead_code)]
enum Known { sha256, blake3 }

#[derive(CandidType)]
#[allow(non_camel_case_types, dead_code)]
enum Newer { sha256, blake3, sha3 }

fn main() {
    println!("opt variant {{ blake3 }}: {:?}", Decode!(&Encode!(&Some(Newer::blake3)).unwrap(), Option<Known>).unwrap());
    println!("opt variant {{ sha3 }}: {:?}", Decode!(&Encode!(&Some(Newer::sha3)).unwrap(), Option<Known>).unwrap());
    println!("opt text: {:?}", Decode!(&Encode!(&Some("blake3")).unwrap(), Option<Known>).unwrap());
    println!("variant {{ sha3 }}: {}", if Decode!(&Encode!(&Newer::sha3).unwrap(), Known).is_err() { "error" } else { "read" });
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
serde = { version = "1", features = ["derive"] }
EOF
expect_seen <<'EOF'
opt variant { blake3 }: Some(blake3)
opt variant { sha3 }: None
opt text: None
variant { sha3 }: error
EOF
