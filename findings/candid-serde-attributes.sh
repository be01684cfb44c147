#!/usr/bin/env bash
# candid 0.10.39 (crates.io), serde's attributes on a type that derives CandidType and Deserialize
#
# Expected: an attribute of serde means for Candid what it means for JSON, or does not compile; a value that was encoded
#   can be decoded again.
# Actual: `rename` is honoured by both derives, `rename_all`, `flatten` and `skip` by Deserialize only: the type
#   compiles, is encoded under the old names, and cannot be decoded from its own encoding. `default` does not make a
#   field optional: a message without the field is an error (Candid specification, Coercion, Records: null, opt or
#   reserved only). `deny_unknown_fields` makes every new field of a client an error.
# Affected: services that share a type between JSON and Candid. A test of one round trip for each type finds it.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{CandidType, Decode, Deserialize, Encode};

macro_rules! types { ($($(#[$attribute:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $type:ty),* })*) => { $(
    #[derive(CandidType, Deserialize, Default, PartialEq)] $(#[$attribute])* struct $name { $($(#[$of])* $field: $type),* }
)* } }

types! {
    Plain { file_name: String }
    Larger { file_name: String, size: u32 }
    #[serde(rename_all = "camelCase")] Camel { file_name: String }
    Renamed { #[serde(rename = "fileName")] file_name: String }
    Flat { size: u32, #[serde(flatten)] plain: Plain }
    Skipping { file_name: String, #[serde(skip)] cached: u32 }
    Defaulted { file_name: String, #[serde(default)] size: u32 }
    #[serde(deny_unknown_fields)] Strict { file_name: String }
}

macro_rules! read { ($what:literal, $from:ty, $to:ty) => {
    let read = Decode!(&Encode!(&<$from>::default()).unwrap(), $to);
    println!("{}: {}", $what, match read { Ok(v) if v == <$to>::default() => "read", Ok(_) => "other value", Err(_) => "error" });
} }

fn main() {
    read!("rename, its own message", Renamed, Renamed);
    read!("rename_all, its own message", Camel, Camel);
    read!("flatten, its own message", Flat, Flat);
    println!("skip, its type: {}", Skipping::ty());
    read!("default, without the field", Plain, Defaulted);
    read!("an unknown field", Larger, Plain);
    read!("deny_unknown_fields, an unknown field", Larger, Strict);
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
serde = { version = "1", features = ["derive"] }
EOF
expect_seen <<'EOF'
rename, its own message: read
rename_all, its own message: error
flatten, its own message: error
skip, its type: record { file_name : text; cached : nat32 }
default, without the field: error
an unknown field: read
deny_unknown_fields, an unknown field: error
EOF
