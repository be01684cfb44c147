#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 and @dfinity/agent 3.4.3 (npm), CanisterStatus.request
#
# Expected: the map has the data that the certificate has for each path, and null for what is absent or not allowed to
#   be read (comment of BaseStatus). That a canister has no module is certified by the absence of its module_hash
#   (Internet Computer interface specification, Canister information). Without a certificate nothing is known, and the
#   request fails, as agent.readState does.
# Actual: every error but that of an invalid certificate becomes null: a boundary node that answers with 429 or 503,
#   and a connection that is reset. A canister that runs looks like one without a module and controllers.
#   @dfinity/agent writes the error to the console, its successor @icp-sdk/core does not.
# Affected: scripts that choose between install and upgrade by module_hash, or compare it after an upgrade: a short
#   failure of the network looks like an empty canister. Ask for `time`, too, which is never absent, and stop if it is
#   null.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0 @dfinity/agent@3.4.3 @dfinity/candid@3.4.3 @dfinity/principal@3.4.3 @noble/curves@1.9.7
cat > probe.mjs <<'EOF'
import http from 'node:http';
import { bls12_381 } from '@noble/curves/bls12-381';
import * as core from '@icp-sdk/core/agent';
import * as corePrincipal from '@icp-sdk/core/principal';
import * as dfinity from '@dfinity/agent';
import * as dfinityPrincipal from '@dfinity/principal';

// A network with a root key of its own, which signs what it knows about one canister.
const { G1, G2 } = bls12_381, secret = 12345n, bytes = (text) => new TextEncoder().encode(text);
const rootKey = Uint8Array.from([...Buffer.from('308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100', 'hex'), ...G2.ProjectivePoint.BASE.multiply(secret).toRawBytes(true)]);
const leb128 = (number) => number < 128n ? [Number(number)] : [Number(number % 128n) + 128, ...leb128(number / 128n)];
const canisterId = corePrincipal.Principal.fromText('ryjl3-tyaaa-aaaaa-aaaba-cai');
const certificate = async (installed) => {
  const controllers = [2, bytes('controllers'), [3, core.Cbor.encode([canisterId.toUint8Array()])]];
  const canister = installed ? [1, controllers, [2, bytes('module_hash'), [3, new Uint8Array(4).fill(0xab)]]] : controllers;
  const time = [3, Uint8Array.from(leb128(BigInt(Date.now()) * 1_000_000n))];
  const tree = [1, [2, bytes('canister'), [2, canisterId.toUint8Array(), canister]], [2, bytes('time'), time]];
  const message = Uint8Array.from([13, ...bytes('ic-state-root'), ...await core.reconstruct(tree)]);
  const signature = G1.hashToCurve(message, { DST: 'BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_' }).multiply(secret).toRawBytes(true);
  return core.Cbor.encode({ tree, signature });
};
const situations = {
  'a canister with a module': async (response) => response.writeHead(200).end(Buffer.from(core.Cbor.encode({ certificate: await certificate(true) }))),
  'a canister without one': async (response) => response.writeHead(200).end(Buffer.from(core.Cbor.encode({ certificate: await certificate(false) }))),
  'answer 503': (response) => response.writeHead(503).end('no healthy upstream'),
  'answer 429': (response) => response.writeHead(429).end('rate limited'),
  'connection reset': (response) => response.destroy(),
};
let situation;
const server = http.createServer((request, response) => request.resume().on('end', () => situations[situation](response))).listen(0, '127.0.0.1', async () => {
  for (const [name, { CanisterStatus, HttpAgent }, { Principal }] of [['@icp-sdk/core', core, corePrincipal], ['@dfinity/agent', dfinity, dfinityPrincipal]]) {
    const agent = await HttpAgent.create({ host: `http://127.0.0.1:${server.address().port}`, rootKey, retryTimes: 0 }), canisterId = Principal.fromText('ryjl3-tyaaa-aaaaa-aaaba-cai');
    for (situation in situations) {
      const status = await CanisterStatus.request({ agent, canisterId, paths: ['module_hash', 'time'] });
      const direct = await agent.readState(canisterId, { paths: [[bytes('time')]] }).then(() => 'a certificate', () => 'an error');
      console.log(`${name}, ${situation}: module_hash ${status.get('module_hash')}, time ${status.get('time') === null ? 'null' : 'known'}; readState: ${direct}`);
    }
  }
  process.exit();
});
EOF
node probe.mjs 2> console > seen
expect_seen <<'EOF'
@icp-sdk/core, a canister with a module: module_hash abababab, time known; readState: a certificate
@icp-sdk/core, a canister without one: module_hash null, time known; readState: a certificate
@icp-sdk/core, answer 503: module_hash null, time null; readState: an error
@icp-sdk/core, answer 429: module_hash null, time null; readState: an error
@icp-sdk/core, connection reset: module_hash null, time null; readState: an error
@dfinity/agent, a canister with a module: module_hash abababab, time known; readState: a certificate
@dfinity/agent, a canister without one: module_hash null, time known; readState: a certificate
@dfinity/agent, answer 503: module_hash null, time null; readState: an error
@dfinity/agent, answer 429: module_hash null, time null; readState: an error
@dfinity/agent, connection reset: module_hash null, time null; readState: an error
EOF
