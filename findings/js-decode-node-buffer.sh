#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), IDL.decode
#
# Expected: a Node Buffer is a Uint8Array; a message is the bytes of the array that is given
#   (Candid specification, Deserialisation).
# Actual: the reader starts at the beginning of the ArrayBuffer beneath, whatever the offset of the view.
#   Buffer.from(hex, 'hex') lives in Node's shared pool, as does every slice of a larger array.
# Affected: scripts that decode recorded replies or arguments from hexadecimal text or from a part of a file; the error
#   reports a wrong magic number. A copy, `new Uint8Array(buffer)`, is read correctly.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const message = IDL.encode([IDL.Nat], [5]);
const read = (name, bytes) => {
  let got;
  try { got = IDL.decode([IDL.Nat], bytes)[0]; } catch (e) { got = e.message.replace(/:.*/s, ''); }
  console.log(`${name}: ${got}`);
};
read('the array itself', message);
const part = new Uint8Array([...new Uint8Array(8), ...message]).subarray(8);
read('a part of a larger array', part);
read('a Buffer with an offset', Buffer.from(part.buffer, part.byteOffset, part.length));
read('a copy of it', new Uint8Array(part));
EOF
node probe.mjs > seen
expect_seen <<'EOF'
the array itself: 5
a part of a larger array: Wrong magic number
a Buffer with an offset: Wrong magic number
a copy of it: 5
EOF
