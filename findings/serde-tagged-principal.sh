#!/usr/bin/env bash
# ic_principal 0.1.5 (the Principal of candid 0.10), serde 1.0.228 and ciborium 0.2.2 (crates.io): tagged enums and
#   flatten
#
# Expected: serde can read back what it has written, with the same type and format (serde, Data model).
# Actual: a Principal in an enum with `tag`, or in a struct that is flattened, is written by ciborium and cannot be
#   read: "Not called by Candid". serde reads such types into a buffer first, which asks for a text where the format has
#   bytes. In JSON all is well, so that tests with JSON do not show it. A u128 cannot be read from the buffer at all,
#   not even 1, and not with `untagged` either. With `tag` and `content`, and without attributes, both types can be
#   read.
# Affected: events and accounts of a ledger, written to stable memory as CBOR: no record with an owner or a balance can
#   be read after the upgrade, or ever.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_principal::Principal;
use serde::{de::DeserializeOwned, Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> { Entry { value: T } }

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent<T> { Entry { value: T } }

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> { Entry { value: T } }

#[derive(Serialize, Deserialize)]
enum Plain<T> { Entry { value: T } }

#[derive(Serialize, Deserialize)]
struct Value<T> { value: T }

#[derive(Serialize, Deserialize)]
struct Flattened<T> { number: u8, #[serde(flatten)] entry: Value<T> }

fn attempt<T: Serialize + DeserializeOwned>(name: &str, value: T) {
    let mut bytes = vec![];
    ciborium::into_writer(&value, &mut bytes).unwrap();
    let cbor = ciborium::from_reader::<T, _>(&bytes[..]).map_or_else(|e| e.to_string(), |_| "read".into());
    let json = serde_json::to_string(&value).map(|text| serde_json::from_str::<T>(&text));
    println!("{name}: CBOR {cbor}; JSON {}", json.unwrap().map_or_else(|e| e.to_string(), |_| "read".into()));
}

fn all<T: Serialize + DeserializeOwned + Copy>(name: &str, value: T) {
    attempt(&format!("{name}, plain"), Plain::Entry { value });
    attempt(&format!("{name}, tag and content"), Adjacent::Entry { value });
    attempt(&format!("{name}, untagged"), Untagged::Entry { value });
    attempt(&format!("{name}, tag"), Tagged::Entry { value });
    attempt(&format!("{name}, flatten"), Flattened { number: 0, entry: Value { value } });
}

fn main() {
    all("Principal", Principal::from_text("rrkah-fqaaa-aaaaa-aaaaq-cai").unwrap());
    all("u128", 1u128);
}
EOF
rust_program > seen <<'EOF'
ic_principal = { version = "=0.1.5", features = ["serde"] }
serde = { version = "=1.0.228", features = ["derive"] }
serde_json = "=1.0.154"
ciborium = "=0.2.2"
EOF
expect_seen <<'EOF'
Principal, plain: CBOR read; JSON read
Principal, tag and content: CBOR read; JSON read
Principal, untagged: CBOR read; JSON read
Principal, tag: CBOR Semantic(None, "Semantic(None, \"Not called by Candid\")"); JSON read
Principal, flatten: CBOR Semantic(None, "Semantic(None, \"Not called by Candid\")"); JSON read
u128, plain: CBOR read; JSON read
u128, tag and content: CBOR read; JSON read
u128, untagged: CBOR Semantic(None, "data did not match any variant of untagged enum Untagged"); JSON data did not match any variant of untagged enum Untagged
u128, tag: CBOR Semantic(None, "u128 is not supported"); JSON u128 is not supported
u128, flatten: CBOR Semantic(None, "u128 is not supported"); JSON u128 is not supported at line 1 column 22
EOF
