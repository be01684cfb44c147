#!/usr/bin/env bash
# @dfinity/vetkeys 0.4.0 (npm), EncryptedMaps
#
# Expected: a value is encrypted with the key that the canister of this EncryptedMaps derives for the map ("encrypts a
#   value for a specific map and key"; vetKD derives another key for each canister, Internet Computer interface
#   specification, vetkd_derive_key), so that whoever has access to the map can read it, on any device.
# Actual: keys are kept in the IndexedDB of the origin by owner and name of the map, without the canister. With two
#   canisters on one page (or after the page was pointed at another one, from a test canister to the final one) a map of
#   the same owner and name gets the key of the canister that was used first: values are stored without an error, and
#   can be read back only in this browser.
# Affected: people who move an application to a new canister, or keep notes and passwords in two: after the browser's
#   data are cleared, and on every other device, the values of the second canister are "Decryption failed". Give maps
#   names that contain the id of the canister.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/vetkeys@0.4.0 @noble/curves@1.9.7 @dfinity/principal@3.4.3 fake-indexeddb@6.2.5
cat > probe.mjs <<'EOF'
import 'fake-indexeddb/auto';
import fs from 'fs';
import { bls12_381 } from '@noble/curves/bls12-381';
import { Principal } from '@dfinity/principal';
import { EncryptedMaps } from '@dfinity/vetkeys/encrypted_maps';

const { G1, G2 } = bls12_381, bytes = (text) => new TextEncoder().encode(text);

/** A canister of encrypted maps with a vetKD key of its own; what it has stored is in `values`. */
const canister = (secret, values) => {
  const key = G2.ProjectivePoint.BASE.multiply(secret).toRawBytes(true);
  return {
    get_vetkey_verification_key: async () => ({ inner: key }),
    get_encrypted_vetkey: async (owner, { inner: map }, { inner: transport }) => {
      const id = owner.toUint8Array(), input = Uint8Array.from([...key, id.length, ...id, ...map]), r = 12345n;
      const signature = G1.hashToCurve(input, { DST: 'BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_AUG_' }).multiply(secret);
      const parts = [G1.ProjectivePoint.BASE.multiply(r), G2.ProjectivePoint.BASE.multiply(r),
        signature.add(G1.ProjectivePoint.fromHex(transport).multiply(r))];
      return { Ok: { inner: Uint8Array.from(parts.flatMap((point) => [...point.toRawBytes(true)])) } };
    },
    insert_encrypted_value: async (owner, map, name, { inner }) => (values.push([...inner]), { Ok: [] }),
    get_encrypted_value: async () => ({ Ok: values.slice(-1).map((inner) => ({ inner })) }),
  };
};

const [device, ...steps] = process.argv.slice(2);
const stored = fs.existsSync('stored.json') ? JSON.parse(fs.readFileSync('stored.json')) : { first: [], second: [] };
const canisters = { first: canister(1001n, stored.first), second: canister(2002n, stored.second) };
const map = [Principal.fromUint8Array(Uint8Array.of(1, 2, 3)), bytes('passwords'), bytes('mail')];
for (const step of steps) {
  const [what, which] = step.split(' '), maps = new EncryptedMaps(canisters[which]);
  const work = what === 'write'
    ? maps.setValue(...map, bytes(`value of the ${which}`)).then(() => 'done')
    : maps.getValue(...map).then((value) => new TextDecoder().decode(value));
  console.log(`${device}, ${step}: ${await work.catch((error) => error.message)}`);
}
fs.writeFileSync('stored.json', JSON.stringify(stored));
process.exit();
EOF
{
  node probe.mjs 'one device' 'write first' 'read first' 'write second' 'read second'
  node probe.mjs 'another device' 'read second'
  node probe.mjs 'a third device' 'read first'
} > seen
expect_seen <<'EOF'
one device, write first: done
one device, read first: value of the first
one device, write second: done
one device, read second: value of the second
another device, read second: Decryption failed
a third device, read first: value of the first
EOF
