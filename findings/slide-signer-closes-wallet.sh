#!/usr/bin/env bash
# @slide-computer/signer 4.2.2, @slide-computer/signer-web 4.2.2, @icp-sdk/signer 5.4.0 (npm)
#
# Expected: a page can have several requests to a wallet open at a time; each has an id, by which its answer is found
#   (ICRC-25, JSON-RPC 2.0), and each gets its answer.
# Actual: 200 ms after the first answer @slide-computer/signer closes the window of the wallet, while a person still reads
#   what the other request asks for. That request fails with "Channel was closed before a response was received".
#   @icp-sdk/signer, its successor, waits for the last answer.
# Affected: pages that ask for accounts or permissions, which the wallet answers by itself, and send a call that its user
#   has to agree to at the same time. Send one request after the other, or set `autoCloseTransportChannel: false`.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @slide-computer/signer@4.2.2 @slide-computer/signer-web@4.2.2 @icp-sdk/signer@5.4.0 @icp-sdk/core@5.4.0
cat > probe.mjs <<'JS'
import { Principal } from '@icp-sdk/core/principal';
Promise.withResolvers ??= () => { const parts = {}; parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject })); return parts; };
const canisterId = Principal.fromText('ryjl3-tyaaa-aaaaa-aaaba-cai'), sender = Principal.fromText('2vxsx-fae');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A page whose wallet answers for the accounts at once, and for a call after the person has thought about it for a second. */
const page = () => {
  const listeners = new Set(), events = [];
  const window = { focus() {}, addEventListener: (_, listener) => listeners.add(listener), removeEventListener: (_, listener) => listeners.delete(listener) };
  const wallet = {
    closed: false,
    focus() {},
    close() { events.push('window of the wallet closed'); wallet.closed = true; },
    async postMessage({ id, method }) {
      const answer = (result) => { for (const listener of listeners) listener({ source: wallet, origin: 'https://wallet.example', data: { jsonrpc: '2.0', id, result } }); };
      await pause(10);
      if (wallet.closed) return;
      if (method === 'icrc29_status') answer('ready');
      if (method === 'icrc27_accounts') answer({ accounts: [{ owner: sender.toText() }] });
      if (method === 'icrc49_call_canister') {
        await pause(1000);
        if (wallet.closed) return;
        events.push('the person agreed');
        answer({ contentMap: 'oWNh', certificate: 'oWNh' });
      }
    },
  };
  window.open = () => wallet;
  return { window, events };
};

for (const [signers, web, accounts] of [['@slide-computer/signer', '@slide-computer/signer-web', 'accounts'], ['@icp-sdk/signer', '@icp-sdk/signer/web', 'getAccounts']]) {
  const { Signer } = await import(signers), { PostMessageTransport } = await import(web), { window, events } = page();
  const signer = new Signer({ transport: new PostMessageTransport({ url: 'https://wallet.example/sign', window, detectNonClickEstablishment: false }) });
  const done = async (name, promise) => { try { await promise; events.push(`${name}: answered`); } catch ({ message }) { events.push(`${name}: ${message}`); } };
  await Promise.all([
    done('accounts', signer[accounts]()),
    done('call', signer.callCanister({ canisterId, sender, method: 'icrc1_transfer', arg: new Uint8Array(3) })),
  ]);
  await pause(1500);
  console.log(`${signers}\n  ${events.join('\n  ')}`);
}
process.exit();
JS
node probe.mjs > seen
expect_seen <<'EOF'
@slide-computer/signer
  accounts: answered
  window of the wallet closed
  call: Channel was closed before a response was received
@icp-sdk/signer
  accounts: answered
  the person agreed
  call: answered
  window of the wallet closed
EOF
