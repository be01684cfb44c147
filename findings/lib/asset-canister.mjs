// AssetManager of @icp-sdk/canisters on a network of one asset canister, whose logic is that of the crate ic-certified-assets:
// the program of asset-canister.rs.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { Cbor, HttpAgent, IC_STATE_ROOT_DOMAIN_SEPARATOR, reconstruct, requestIdOf } from '@icp-sdk/core/agent';
import { lebEncode } from '@icp-sdk/core/candid';

// The package's module calls `require`, which modules of Node.js lack.
globalThis.require = createRequire(import.meta.url);
const { AssetManager } = await import('@icp-sdk/canisters/assets');

const canister = spawn('./probe', { stdio: ['pipe', 'pipe', 'inherit'] });
const waiting = [];
createInterface({ input: canister.stdout }).on('line', (line) => waiting.shift()(line));
const execute = (method, arg) => new Promise((resolve) => {
  waiting.push(resolve);
  canister.stdin.write(`${method} ${Buffer.from(arg).toString('hex')}\n`);
});

// Certificates are signed with a key of this network.
const bls = bls12_381.shortSignatures, key = new Uint8Array(32).fill(1);
const derPrefix = Buffer.from('308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100', 'hex');
const rootKey = Uint8Array.from([...derPrefix, ...bls.getPublicKey(key).toBytes()]);
const bytes = (text) => new TextEncoder().encode(text);
const label = (name, tree) => [2, typeof name === 'string' ? bytes(name) : name, tree], leaf = (value) => [3, value];
const fork = (...trees) => trees.reduceRight((right, left) => [1, left, right]);
const certify = async (requestId, outcome) => {
  const tree = fork(label('request_status', label(requestId, outcome)), label('time', leaf(lebEncode(BigInt(Date.now()) * 1000000n))));
  const message = Uint8Array.from([...IC_STATE_ROOT_DOMAIN_SEPARATOR, ...await reconstruct(tree)]);
  return Cbor.encode({ tree, signature: bls.Signature.toBytes(bls.sign(bls.hash(message), key)) });
};

const fetch = async (url, { body }) => {
  const { content } = Cbor.decode(body);
  const line = await execute(content.method_name, content.arg);
  const [ok, value] = [line.startsWith('ok '), line.replace(/^(ok|err) ?/, '')];
  if (content.request_type === 'query') {
    const outcome = ok ? { status: 'replied', reply: { arg: Buffer.from(value, 'hex') } }
      : { status: 'rejected', reject_code: 5, reject_message: value, error_code: 'IC0503' };
    return new Response(Cbor.encode(outcome), { status: 200 });
  }
  const outcome = ok ? fork(label('reply', leaf(Uint8Array.from(Buffer.from(value, 'hex')))), label('status', leaf(bytes('replied'))))
    : fork(label('error_code', leaf(bytes('IC0503'))), label('reject_code', leaf(new Uint8Array([5]))),
      label('reject_message', leaf(bytes(value))), label('status', leaf(bytes('rejected'))));
  return new Response(Cbor.encode({ status: 'replied', certificate: await certify(requestIdOf(content), outcome) }), { status: 200 });
};

/** An AssetManager whose user may change everything. */
export const manager = (options) => new AssetManager({
  canisterId: 'rrkah-fqaaa-aaaaa-aaaaq-cai',
  agent: HttpAgent.createSync({ host: 'https://network.example', fetch, rootKey, verifyQuerySignatures: false }),
  ...options,
});

/** `done`, or the text with which the canister refused. */
export const outcome = (promise) => promise.then(() => 'done', (error) => error.message.match(/Reject text: (.*)/)?.[1] ?? error.message);

/** Ends the canister. */
export const end = () => canister.stdin.end();
