#!/usr/bin/env bash
# @ledgerhq/coin-internet_computer 1.29.4, @icp-sdk/core 6.1.0 (npm)
#
# Expected: signMessage of the Ledger wallet signs the text that it is given, so that the signature can be checked with
#   the text and the user's public key. (The device is replaced by a key of @icp-sdk/core, which signs the bytes that
#   it gets.)
# Actual: a text that happens to be valid base64 (letters, digits, "+" and "/", their number divisible by four) is decoded,
#   and other bytes are signed; so is a text of six or more hexadecimal digits, if their number is even. `Login123` is
#   signed as six bytes, `Login12` and `Login 123` as they are written. No result says which it was.
# Affected: pages that let users sign a one-time code, an id, a digest or a single word: whether the signature can be
#   verified depends on the characters and on the length of the text. Put a space into the text.
. "$(dirname "$0")/lib/common.sh"
. "$lib/ledger-live.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'JS'
import { createRequire } from 'node:module';
import { Secp256k1KeyIdentity } from '@icp-sdk/core/identity/secp256k1';
const { signMessage } = createRequire(import.meta.url)('./ledger/node_modules/@ledgerhq/coin-internet_computer/lib/hw-signMessage.js');

const key = Secp256k1KeyIdentity.fromSecretKey(new Uint8Array(32).fill(7));
let given;
const sign = signMessage((deviceId, job) => job({ sign: async (path, bytes) => {
  given = bytes;
  return { signatureRS: Buffer.from(await key.sign(bytes)) };
} }));
for (const message of ['Log in to example.com', 'Login12', 'Login123', 'Login 123', 'yes', 'okay', '48151', '481516', '4815162342', 'b5a2c9f3', 'vault/photos']) {
  const { signature } = await sign('device', { freshAddressPath: "44'/223'/0'/0/0" }, { message });
  const ofText = Buffer.from(await key.sign(Buffer.from(message))).toString('hex');
  console.log(`${message}: ${given.equals(Buffer.from(message)) ? 'the text' : given.toString('hex')}, the signature of the text ${signature === ofText}`);
}
JS
node probe.mjs > seen
expect_seen <<'EXPECTED'
Log in to example.com: the text, the signature of the text true
Login12: the text, the signature of the text true
Login123: 2e88229f5db7, the signature of the text false
Login 123: the text, the signature of the text true
yes: the text, the signature of the text true
okay: a246b2, the signature of the text false
48151: the text, the signature of the text true
481516: 481516, the signature of the text false
4815162342: 4815162342, the signature of the text false
b5a2c9f3: b5a2c9f3, the signature of the text false
vault/photos: bdaba5b7fa61a2da2c, the signature of the text false
EXPECTED
