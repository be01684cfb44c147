#!/usr/bin/env bash
# @icp-sdk/signer 5.4.0 with @icp-sdk/core 5.4.0 (npm), SignerAgent
#
# Expected: the answer to a call is a certificate, in which the call is either replied to, or rejected with a code and a
#   message (Internet Computer interface specification, Request status). SignerAgent is "a drop-in replacement for
#   HttpAgent", whose actors raise a rejection with its code and message.
# Actual: SignerAgent looks for a reply only. A rejection, certified and for the right request, is "Received invalid
#   response from signer", without code and message. HttpAgent reports the same certificate as the rejection.
# Affected: users with a wallet: a canister that is stopped, refuses or traps looks like a faulty wallet, and a client
#   cannot know whether to retry.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/signer@5.4.0 @icp-sdk/core@5.4.0
cp "$lib/network.mjs" .
cat > probe.mjs <<'EOF'
import { Actor, Cbor } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { SignerAgent } from '@icp-sdk/signer/agent';
import { agentOf, certify } from './network.mjs';

const canisterId = Principal.fromText('rrkah-fqaaa-aaaaa-aaaaq-cai'), account = Principal.anonymous();
const stopped = Object.assign(new Error('Canister is stopped'), { code: 'IC0508' });
for (const [name, said] of [['replied', IDL.encode([IDL.Nat], [5])], ['rejected', stopped]]) {
  // HttpAgent, whose network answers with the certificate.
  const http = agentOf(() => said);
  // SignerAgent, whose signer sends the call and hands on the certificate.
  const signer = {
    openChannel: async () => {},
    callCanister: async ({ sender, method, arg }) => {
      const content = { request_type: 'call', canister_id: canisterId.toUint8Array(), sender: sender.toUint8Array(),
        method_name: method, arg, ingress_expiry: BigInt(Date.now() + 60_000) * 1000000n };
      return { contentMap: Cbor.encode(content), certificate: await certify(content, said) };
    },
  };
  for (const [kind, agent] of [['HttpAgent', http], ['SignerAgent', SignerAgent.createSync({ signer, account, agent: http })]]) {
    const actor = Actor.createActor(({ IDL }) => IDL.Service({ finish: IDL.Func([], [IDL.Nat], []) }), { agent, canisterId });
    let got;
    try { got = await actor.finish(); }
    catch (e) { got = `${e.constructor.name}, ${e.message.match(/(Reject|Error) (code|text): .*|^Received .*/g).map((line) => line.trim()).join(', ')}`; }
    console.log(`${name}, ${kind}: ${got}`);
  }
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
replied, HttpAgent: 5
replied, SignerAgent: 5
rejected, HttpAgent: RejectError, Reject code: 5, Reject text: Canister is stopped, Error code: IC0508
rejected, SignerAgent: SignerAgentError, Received invalid response from signer
EOF
