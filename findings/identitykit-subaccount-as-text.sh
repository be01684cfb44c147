#!/usr/bin/env bash
# @nfid/identitykit 1.0.18, @dfinity/ledger-icp 9.1.0 (npm)
#
# Expected: an account that a wallet gave to the page (ICRC-27: an owner and an optional subaccount, 32 bytes) is the same
#   after the page was loaded again, and getAccounts() returns it.
# Actual: subaccounts are stored as text, by TextDecoder, so that bytes that are not UTF-8 become U+FFFD and the subaccount
#   more than 32 bytes. After login the account is right. getAccounts() then throws, and IdentityKit.create() throws at
#   each start of the page, so that the user can neither connect nor disconnect, until the site's data is cleared.
#   Subaccounts with small numbers, as tests have them, are not affected.
# Affected: pages for wallets whose accounts have subaccounts from 128 on, of a principal or of a digest. Catch the error
#   of create(), and remove `connected` from localStorage.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @nfid/identitykit@1.0.18 @dfinity/agent@3.4.3 @dfinity/auth-client@3.4.3 @dfinity/candid@3.4.3 \
  @dfinity/identity@3.4.3 @dfinity/principal@3.4.3 @dfinity/utils@5.0.0 @dfinity/ledger-icp@9.1.0 @icp-sdk/canisters@3.6.0 @icp-sdk/core@6.1.0
# The package names its modules for bundlers only; this is the one that they load.
cp node_modules/@nfid/identitykit/dist/index.esm.js node_modules/@nfid/identitykit/dist/index.mjs
cat > probe.mjs <<'JS'
import { Buffer } from 'node:buffer';
import { Principal } from '@dfinity/principal';
// As in a page.
delete globalThis.Buffer;
const values = new Map();
globalThis.localStorage = { getItem: (key) => values.get(key), setItem: (key, value) => values.set(key, value), removeItem: (key) => values.delete(key) };
globalThis.window = { addEventListener() {}, setTimeout, clearTimeout };
globalThis.document = { addEventListener() {} };
const { IdentityKit } = await import('./node_modules/@nfid/identitykit/dist/index.mjs');
const { AccountIdentifier } = await import('@dfinity/ledger-icp');
const owner = Principal.fromText('2vxsx-fae');
const hex = (bytes) => Buffer.from(bytes).toString('hex');

const user = Principal.selfAuthenticating(new Uint8Array(32).fill(5)).toUint8Array();
const subaccounts = {
  'number 5': [...Array(31).fill(0), 5],
  'number 200': [...Array(31).fill(0), 200],
  'of a principal': [user.length, ...user, 0, 0],
};
for (const [name, bytes] of Object.entries(subaccounts)) {
  const stored = new Map();
  const storage = { get: async (key) => stored.get(key) ?? null, set: async (key, value) => { stored.set(key, value); }, remove: async (key) => { stored.delete(key); } };
  const signer = { sendRequest: async () => ({ result: { accounts: [{ owner: owner.toText(), subaccount: Buffer.from(bytes).toString('base64') }] } }) };
  const open = async () => (await IdentityKit.create({ authType: 'ACCOUNTS', signerClientOptions: { signer, storage, idleOptions: { disableIdle: true } } })).signerClient;
  const show = async (look) => {
    try {
      const { principal, subAccount } = await look();
      return `${hex(subAccount.toUint8Array())}, account ${AccountIdentifier.fromPrincipal({ principal, subAccount }).toHex().slice(0, 8)}`;
    } catch (error) { return `${error}`; }
  };
  const client = await open();
  await client.login();
  console.log(`${name}: of the wallet ${hex(bytes)}`);
  console.log(`  after login: ${await show(() => client.connectedUser)}`);
  console.log(`  getAccounts(): ${await show(async () => (await client.getAccounts())[0])}`);
  console.log(`  after a reload: ${await show(async () => (await open()).connectedUser)}`);
}
process.exit();
JS
node probe.mjs > seen
expect_seen <<'EOF'
number 5: of the wallet 0000000000000000000000000000000000000000000000000000000000000005
  after login: 0000000000000000000000000000000000000000000000000000000000000005, account 8dbe15c1
  getAccounts(): 0000000000000000000000000000000000000000000000000000000000000005, account 8dbe15c1
  after a reload: 0000000000000000000000000000000000000000000000000000000000000005, account 8dbe15c1
number 200: of the wallet 00000000000000000000000000000000000000000000000000000000000000c8
  after login: 00000000000000000000000000000000000000000000000000000000000000c8, account bb3d0c21
  getAccounts(): Error: Subaccount length must be 32-bytes
  after a reload: Error: Subaccount length must be 32-bytes
of a principal: of the wallet 1da441f41213140a39b2e3009770b9af696aa911a735e2a65ad081d4ac020000
  after login: 1da441f41213140a39b2e3009770b9af696aa911a735e2a65ad081d4ac020000, account 3724007f
  getAccounts(): Error: Subaccount length must be 32-bytes
  after a reload: Error: Subaccount length must be 32-bytes
EOF
