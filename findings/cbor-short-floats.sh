#!/usr/bin/env bash
# minicbor 2.3.1 without its feature `half`, ciborium 0.2.2, serde_cbor 0.11.2 (crates.io)
#
# Expected: a float is written in the shortest form that keeps its value (RFC 8949, 4.1, preferred serialization), and a
#   decoder accepts all three sizes (3.3).
# Actual: ciborium and serde_cbor write 1.5 in two bytes; minicbor reads an f64 from eight or four bytes, but not from
#   two. 0.1, which needs all eight, can be read. minicbor writes Some(None) as null and reads it back as None, and its
#   encodings of `char` and `()` differ from those of the other two.
# Affected: canisters that read records written by a tool with another library: whether a record is refused depends on
#   the digits of one number.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use minicbor::{Decode, Encode};

#[derive(Encode, Decode, Debug)]
#[cbor(map)]
struct Change {
    #[n(0)]
    limit: Option<Option<u32>>,
}

fn hex(bytes: &[u8]) -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() }

fn ciborium<T: serde::Serialize>(value: T) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

fn main() {
    for value in [0.1f64, 1.5] {
        let bytes = ciborium(value);
        println!("{value}: ciborium {}, serde_cbor {}, minicbor {}; minicbor reads ciborium's: {}", hex(&bytes),
            hex(&serde_cbor::to_vec(&value).unwrap()), hex(&minicbor::to_vec(value).unwrap()),
            minicbor::decode::<f64>(&bytes).map_or_else(|e| e.to_string(), |v| v.to_string()));
    }
    let bytes = minicbor::to_vec(Change { limit: Some(None) }).unwrap();
    println!("Some(None): minicbor {}, read back {:?}", hex(&bytes), minicbor::decode::<Change>(&bytes).unwrap());
    println!("'a': ciborium {}, minicbor {}", hex(&ciborium('a')), hex(&minicbor::to_vec('a').unwrap()));
    println!("(): ciborium {}, minicbor {}", hex(&ciborium(())), hex(&minicbor::to_vec(()).unwrap()));
}
EOF
rust_program > seen <<'EOF'
ciborium = "=0.2.2"
minicbor = { version = "=2.3.1", features = ["std", "derive"] }
serde = "1"
serde_cbor = "=0.11.2"
EOF
expect_seen <<'EOF'
0.1: ciborium fb3fb999999999999a, serde_cbor fb3fb999999999999a, minicbor fb3fb999999999999a; minicbor reads ciborium's: 0.1
1.5: ciborium f93e00, serde_cbor f93e00, minicbor fb3ff8000000000000; minicbor reads ciborium's: unexpected type f16 at position 0: expected f64
Some(None): minicbor a100f6, read back Change { limit: None }
'a': ciborium 6161, minicbor 1861
(): ciborium f6, minicbor 80
EOF
