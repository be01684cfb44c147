#!/usr/bin/env bash
# cbor-x 1.6.9, cbor 10.0.12, cbor2 2.3.0 and cborg 6.1.5 (npm); minicbor 2.3.1 and ciborium 0.2.2 (crates.io): whole
#   numbers
#
# Expected: a whole number is encoded as an integer (RFC 8949, 3.1 and 4.1), as JavaScript's Number can hold it exactly
#   up to 2^53.
# Actual: cbor-x writes each Number from 2^32 on as a float of eight bytes; the others write a float from 2^53 on, of
#   four bytes. Readers in Rust expect an integer for a u64, and refuse the message.
# Affected: sizes and offsets of files of 4 GiB and more, and times in milliseconds: a protocol that works in every test
#   with small files fails because of the size of one field. Use BigInt.
. "$(dirname "$0")/lib/common.sh"

npm_packages cbor-x@1.6.9 cbor@10.0.12 cbor2@2.3.0 cborg@6.1.5
cat > probe.mjs <<'EOF'
import * as cborx from 'cbor-x';
import cbor from 'cbor';
import * as cbor2 from 'cbor2';
import * as cborg from 'cborg';
for (const size of [2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53]) {
  for (const [name, { encode }] of Object.entries({ 'cbor-x': cborx, cbor, cbor2, cborg })) console.log(size, name, Buffer.from(encode(size)).toString('hex'));
}
console.log(2 ** 32, 'cbor-x, BigInt', Buffer.from(cborx.encode(2n ** 32n)).toString('hex'));
EOF
mkdir src
cat > src/main.rs <<'EOF'
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let bytes = hex::decode(line.rsplit(' ').next().unwrap()).unwrap();
        let minicbor = minicbor::decode::<u64>(&bytes).is_ok();
        let ciborium = ciborium::from_reader::<u64, _>(&bytes[..]).is_ok();
        println!("{line}: u64 for minicbor {minicbor}, ciborium {ciborium}");
    }
}
EOF
rust_binary <<'EOF'
ciborium = "=0.2.2"
hex = "0.4"
minicbor = { version = "=2.3.1", features = ["std"] }
EOF
node probe.mjs | ./probe > seen
expect_seen <<'EOF'
4294967295 cbor-x 1affffffff: u64 for minicbor true, ciborium true
4294967295 cbor 1affffffff: u64 for minicbor true, ciborium true
4294967295 cbor2 1affffffff: u64 for minicbor true, ciborium true
4294967295 cborg 1affffffff: u64 for minicbor true, ciborium true
4294967296 cbor-x fb41f0000000000000: u64 for minicbor false, ciborium false
4294967296 cbor 1b0000000100000000: u64 for minicbor true, ciborium true
4294967296 cbor2 1b0000000100000000: u64 for minicbor true, ciborium true
4294967296 cborg 1b0000000100000000: u64 for minicbor true, ciborium true
9007199254740991 cbor-x fb433fffffffffffff: u64 for minicbor false, ciborium false
9007199254740991 cbor 1b001fffffffffffff: u64 for minicbor true, ciborium true
9007199254740991 cbor2 1b001fffffffffffff: u64 for minicbor true, ciborium true
9007199254740991 cborg 1b001fffffffffffff: u64 for minicbor true, ciborium true
9007199254740992 cbor-x fb4340000000000000: u64 for minicbor false, ciborium false
9007199254740992 cbor fa5a000000: u64 for minicbor false, ciborium false
9007199254740992 cbor2 fa5a000000: u64 for minicbor false, ciborium false
9007199254740992 cborg fa5a000000: u64 for minicbor false, ciborium false
4294967296 cbor-x, BigInt 1b0000000100000000: u64 for minicbor true, ciborium true
EOF
