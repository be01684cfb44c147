#!/usr/bin/env bash
# @dfinity/cbor 0.2.3 (npm), the CBOR of @icp-sdk/core 6.1.0
#
# Expected: 0.75 is a float of CBOR (RFC 8949, 3.3), and a map may have integers as keys (3.1); the subnet metrics of
#   the state tree hold such a map (Internet Computer interface specification, /subnet/<subnet_id>/metrics:
#   consumed_cycles_total, written as { 0 : low, 1 : high } by ic-transport-types).
# Actual: floats are cut to integers when encoding, without an error; floats and integer keys are refused when decoding.
#   A JavaScript Map becomes an empty map.
# Affected: a JavaScript tool that keeps figures in CBOR, reads subnet metrics, or reads records that minicbor wrote
#   (its keys are integers).
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/cbor@0.2.3
cat > probe.mjs <<'EOF'
import { encode, decode } from '@dfinity/cbor';
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const read = (text) => {
  try { return JSON.stringify(decode(Uint8Array.from(text.match(/../g), (x) => parseInt(x, 16)))); } catch (e) { return e.message; }
};
console.log('{ ratio: 0.75 } and back:', JSON.stringify(decode(encode({ ratio: 0.75 }))));
console.log('-1.5:', hex(encode(-1.5)));
console.log('Map { 1 => 2 }:', hex(encode(new Map([[1, 2]]))));
console.log('float 0.75 read:', read('f93a00'));
console.log('map { 0: 5, 1: null } read:', read('a2000501f6'));
EOF
node probe.mjs > seen
expect_seen <<'EOF'
{ ratio: 0.75 } and back: {"ratio":0}
-1.5: 20
Map { 1 => 2 }: a0
float 0.75 read: Unrecognized simple type: 11001
map { 0: 5, 1: null } read: Map keys must be text strings
EOF
