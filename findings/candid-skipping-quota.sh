#!/usr/bin/env bash
# candid 0.10.39 with the quota that ic-cdk-macros 0.20.3 (crates.io) writes into every method
#
# Expected: fields and arguments that the receiver does not know are ignored, whatever they hold (Candid specification,
#   Coercion: "the values are ignored"; Tuple types: "extra arguments are ignored").
# Actual: at most 10,000 units, roughly the bytes of a blob or text, may be skipped in a message. Skipping more is an
#   error, and since the macro unwraps it, a trap. The library by itself has no such limit, so that tests with Decode!
#   pass.
# Affected: a client that is newer than the canister, for instance after a rollback: it may send a new optional field,
#   and its calls fail from a certain length of the value on. New optional fields must have short values, or be part of
#   a new method.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{utils::decode_args_with_config, CandidType, Decode, DecoderConfig, Deserialize, Encode};

#[derive(CandidType, Deserialize)]
struct Known { name: String }

#[derive(CandidType)]
struct Newer { name: String, preview: Option<serde_bytes::ByteBuf> }

fn main() {
    let mut quota = DecoderConfig::new();
    quota.set_skipping_quota(10_000);
    for length in [9_000, 11_000] {
        let preview = Some(serde_bytes::ByteBuf::from(vec![0; length]));
        let message = Encode!(&Newer { name: "a".into(), preview }).unwrap();
        let with = decode_args_with_config::<(Known,)>(&message, &quota);
        println!("new field of {length} bytes: as in a canister {}, with Decode! {}", verdict(with.map(|(k,)| k)), verdict(Decode!(&message, Known)));
        let message = Encode!(&Newer { name: "a".into(), preview: None }, &"x".repeat(length)).unwrap();
        let with = decode_args_with_config::<(Known,)>(&message, &quota);
        println!("extra argument of {length} bytes: as in a canister {}", verdict(with.map(|(k,)| k)));
    }
}

fn verdict(result: Result<Known, candid::Error>) -> String {
    match result {
        Ok(known) => format!("read, {}", known.name),
        Err(e) => format!("error, {}", if format!("{e:?}").contains("Skipping cost exceeds") { "Skipping cost exceeds the limit" } else { "?" }),
    }
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
serde = { version = "1", features = ["derive"] }
ic-cdk-macros = "=0.20.3"
serde_bytes = "0.11"
EOF
source=$(cargo metadata --format-version 1 --offline | python3 -c '
import json, sys
print([p for p in json.load(sys.stdin)["packages"] if p["name"] == "ic-cdk-macros"][0]["manifest_path"].removesuffix("Cargo.toml"))')
echo "in ic-cdk-macros: $(grep -rho 'set_skipping_quota([0-9]*)' "$source/src" | sort -u)" >> seen
expect_seen <<'EOF'
new field of 9000 bytes: as in a canister read, a, with Decode! read, a
extra argument of 9000 bytes: as in a canister read, a
new field of 11000 bytes: as in a canister error, Skipping cost exceeds the limit, with Decode! read, a
extra argument of 11000 bytes: as in a canister error, Skipping cost exceeds the limit
in ic-cdk-macros: set_skipping_quota(10000)
EOF
