#!/usr/bin/env bash
# @dfinity/ic-pub-key 1.0.2, @dfinity/didc 0.0.4, @icp-sdk/core 6.1.0 (npm)
#
# Expected: DerivationPath.fromBlob reads "/ separated candid blobs" (its documentation; the option `--derivationpath` of the
#   command line does the same), so a part is the bytes that Candid gives to the text of a blob. Candid has the escapes
#   \n, \r, \t, \\, \", \' and \u{…} besides two hexadecimal digits, and other characters stand for their UTF-8 bytes.
# Actual: each backslash is followed by two digits; what is no digit counts as 0. A character that is not ASCII is one
#   byte, its code modulo 256. A slash, which didc and icp-cli do not escape in a blob of text, ends the part. The
#   derived key is then another one, without an error but for an escape at the end.
# Affected: programs that derive a user's key or address without a call, from a path that is text (a name, a folder, a
#   sentence): what is sent to that address belongs to a key that the canister never signs with. Write all bytes as
#   \xx, as toBlob() does, or pass bytes to `new DerivationPath`.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @dfinity/ic-pub-key@1.0.2 @dfinity/didc@0.0.4 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { secp256k1 } from '@dfinity/ic-pub-key/ecdsa';
import * as didc from '@dfinity/didc';
import { IDL } from '@icp-sdk/core/candid';
const idl = 'service : { f : (blob) -> () }', withType = { kind: 'methodParams', name: 'f' };
const key = secp256k1.PublicKeyWithChainCode.forMainnetKey('key_1');
const derived = (path) => key.deriveSubkeyWithChainCode(new secp256k1.DerivationPath(path)).toHex().public_key.slice(0, 12);

for (const text of ['alice', 'users/alice', 'caf\\c3\\a9', 'café', 'caf\\u{e9}', 'say \\"hi\\"', 'C:\\\\films', "it\\'s", 'one\\ntwo']) {
  const [bytes] = IDL.decode([IDL.Vec(IDL.Nat8)], Uint8Array.from(Buffer.from(didc.encode({ idl, input: `(blob "${text}")`, withType, targetFormat: 'hex' }), 'hex')));
  let result;
  try {
    const { path } = secp256k1.DerivationPath.fromBlob(text);
    result = `${path.map((part) => Buffer.from(part).toString('hex')).join(' and ')}, key ${derived(path)}`;
  } catch ({ message }) { result = message; }
  console.log(`"${text}": didc ${Buffer.from(bytes).toString('hex')}, key ${derived([bytes])}; ic-pub-key ${result}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
"alice": didc 616c696365, key 024f2276a552; ic-pub-key 616c696365, key 024f2276a552
"users/alice": didc 75736572732f616c696365, key 024fec53fa60; ic-pub-key 7573657273 and 616c696365, key 030ad9a1252c
"caf\c3\a9": didc 636166c3a9, key 03f3e456529f; ic-pub-key 636166c3a9, key 03f3e456529f
"café": didc 636166c3a9, key 03f3e456529f; ic-pub-key 636166e9, key 03e10b50bb2a
"caf\u{e9}": didc 636166c3a9, key 03f3e456529f; ic-pub-key 6361660065397d, key 02aa56984236
"say \"hi\"": didc 7361792022686922, key 03c398856880; ic-pub-key Incomplete escape sequence at the end of the input string.
"C:\\films": didc 433a5c66696c6d73, key 029f73c747ad; ic-pub-key 433a00696c6d73, key 033b93a4970d
"it\'s": didc 69742773, key 03e199d84d6a; ic-pub-key 697400, key 032f994084de
"one\ntwo": didc 6f6e650a74776f, key 036e6d60cee1; ic-pub-key 6f6e6500776f, key 03abcc498e75
EOF
