#!/usr/bin/env bash
# cbor-x 1.6.9 and cbor 10.0.12 (npm); @icp-sdk/core 6.1.0, @dfinity/cbor 0.2.3 (npm), minicbor 2.3.1, ciborium 0.2.2
#   (crates.io)
#
# Expected: bytes are a byte string (RFC 8949, 3.1, major type 2), as all messages of the Internet Computer have them.
# Actual: both encoders write a Uint8Array as a typed array, tag 64 of RFC 8746, and a Buffer, which is a Uint8Array, as
#   plain bytes. In Node.js nothing goes wrong as long as the bytes come from a file; in a browser, and if the bytes
#   come from a hash function, every reader of the Internet Computer refuses them. ciborium reads the same record with
#   serde_bytes.
# Affected: anyone who writes an envelope, a certificate or a record for a canister with the most used encoders. For
#   cbor-x: `new Encoder({ tagUint8Array: false })`.
. "$(dirname "$0")/lib/common.sh"

npm_packages cbor-x@1.6.9 cbor@10.0.12 @icp-sdk/core@6.1.0 @dfinity/cbor@0.2.3
cat > probe.mjs <<'EOF'
import { createHash } from 'node:crypto';
import * as cborx from 'cbor-x';
import cbor from 'cbor';
import * as dfinity from '@dfinity/cbor';
import { Cbor } from '@icp-sdk/core/agent';
const digest = createHash('sha256').update('x').digest().subarray(0, 4), array = Uint8Array.from(digest);
const read = (decode, bytes) => { try { return Buffer.from(decode(bytes)).toString('hex'); } catch (error) { return error.message.split('\n')[0]; } };
for (const [name, encode] of [['cbor-x', cborx.encode], ['cbor', cbor.encode], ['cbor-x without tags', (value) => new cborx.Encoder({ tagUint8Array: false }).encode(value)]]) {
  for (const [kind, value] of [['Buffer', digest], ['Uint8Array', array]]) {
    const bytes = Uint8Array.from(encode(value));
    console.error(`${name}, ${kind}: @dfinity/cbor ${read(dfinity.decode, bytes)}; @icp-sdk/core ${read((b) => Cbor.decode(b), bytes)}`);
    console.log(`${name}, ${kind} ${Buffer.from(bytes).toString('hex')}`);
  }
}
EOF
mkdir src
cat > src/main.rs <<'EOF'
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let bytes = hex::decode(line.rsplit(' ').next().unwrap()).unwrap();
        let minicbor = minicbor::decode::<minicbor::bytes::ByteVec>(&bytes).map_or_else(|e| e.to_string(), |v| hex::encode(&v[..]));
        let ciborium = ciborium::from_reader::<serde_bytes::ByteBuf, _>(&bytes[..]).map_or_else(|e| e.to_string(), hex::encode);
        println!("{line}: minicbor {minicbor}; ciborium {ciborium}");
    }
}
EOF
rust_binary <<'EOF'
ciborium = "=0.2.2"
hex = "0.4"
minicbor = { version = "=2.3.1", features = ["std"] }
serde_bytes = "0.11"
EOF
node probe.mjs 2> seen | ./probe > rust
cat rust >> seen
expect_seen <<'EOF'
cbor-x, Buffer: @dfinity/cbor 2d711642; @icp-sdk/core 2d711642
cbor-x, Uint8Array: @dfinity/cbor Unsupported tag: 64.; @icp-sdk/core Failed to decode CBOR: DecodingError: Unsupported tag: 64.
cbor, Buffer: @dfinity/cbor 2d711642; @icp-sdk/core 2d711642
cbor, Uint8Array: @dfinity/cbor Unsupported tag: 64.; @icp-sdk/core Failed to decode CBOR: DecodingError: Unsupported tag: 64.
cbor-x without tags, Buffer: @dfinity/cbor 2d711642; @icp-sdk/core 2d711642
cbor-x without tags, Uint8Array: @dfinity/cbor 2d711642; @icp-sdk/core 2d711642
cbor-x, Buffer 442d711642: minicbor 2d711642; ciborium 2d711642
cbor-x, Uint8Array d840442d711642: minicbor unexpected type tag at position 0: expected bytes (definite length); ciborium 2d711642
cbor, Buffer 442d711642: minicbor 2d711642; ciborium 2d711642
cbor, Uint8Array d840442d711642: minicbor unexpected type tag at position 0: expected bytes (definite length); ciborium 2d711642
cbor-x without tags, Buffer 442d711642: minicbor 2d711642; ciborium 2d711642
cbor-x without tags, Uint8Array 442d711642: minicbor 2d711642; ciborium 2d711642
EOF
