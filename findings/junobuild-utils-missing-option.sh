#!/usr/bin/env bash
# junobuild-utils 0.4.0 (crates.io), @dfinity/utils 5.0.0 (npm)
#
# Expected: decode_doc_data reads what a page has stored as a document: both sides write bigint, Principal and
#   Uint8Array as @dfinity/utils does (documentation of decode_json_data), and modules `…_opt` are for those that are
#   optional. In Rust a missing Option is None (serde); in JavaScript JSON.stringify leaves out what is undefined.
#   JsonDataNat is "an arbitrary precision natural number".
# Actual: with bigint_opt, nat_opt, principal_opt or uint8array_opt a missing field is an error; only null is None. And
#   from 2^128 on a number is an error for JsonDataNat, too.
# Affected: hooks of Juno's satellites: a document without an optional amount or owner, which the page could store,
#   cannot be decoded, so the hook fails. Add `default` to the attribute: #[serde(default, with = "…")].
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > write.js <<'EOF'
import { jsonReplacer } from '@dfinity/utils';
const write = (document) => console.log(JSON.stringify(document, jsonReplacer));
write({ plain: 1, amount: 2n, total: 3n, content: new Uint8Array([4]) });
write({ plain: null, amount: null, total: 3n, content: null });
write({ amount: 2n, total: 3n, content: undefined });
write({ amount: undefined, total: 3n, content: new Uint8Array([4]) });
write({ amount: 2n, total: 2n ** 128n, content: null });
EOF
node write.js > documents
mkdir src
cat > src/main.rs <<'EOF'
#[derive(Debug, serde::Deserialize)]
#[allow(dead_code)]
struct Document {
    plain: Option<u64>,
    #[serde(with = "junobuild_utils::with::bigint_opt")]
    amount: Option<u64>,
    #[serde(with = "junobuild_utils::with::nat")]
    total: u128,
    #[serde(with = "junobuild_utils::with::uint8array_opt")]
    content: Option<Vec<u8>>,
}

fn main() {
    for line in std::fs::read_to_string("documents").unwrap().lines() {
        println!("{line}");
        match junobuild_utils::decode_doc_data::<Document>(line.as_bytes()) {
            Ok(document) => println!("    {document:?}"),
            Err(e) => println!("    {e}"),
        }
    }
}
EOF
rust_program > seen <<'EOF'
junobuild-utils = "=0.4.0"
serde = { version = "=1.0.228", features = ["derive"] }
EOF
expect_seen <<'EOF'
{"plain":1,"amount":{"__bigint__":"2"},"total":{"__bigint__":"3"},"content":{"__uint8array__":[4]}}
    Document { plain: Some(1), amount: Some(2), total: 3, content: Some([4]) }
{"plain":null,"amount":null,"total":{"__bigint__":"3"},"content":null}
    Document { plain: None, amount: None, total: 3, content: None }
{"amount":{"__bigint__":"2"},"total":{"__bigint__":"3"}}
    missing field `content` at line 1 column 56
{"total":{"__bigint__":"3"},"content":{"__uint8array__":[4]}}
    missing field `amount` at line 1 column 61
{"amount":{"__bigint__":"2"},"total":{"__bigint__":"340282366920938463463374607431768211456"},"content":null}
    Invalid format for __bigint__ at line 1 column 93
EOF
