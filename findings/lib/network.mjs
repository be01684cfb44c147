// A network for an HttpAgent, whose certificates are signed with a key of its own.
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { Cbor, HttpAgent, IC_STATE_ROOT_DOMAIN_SEPARATOR, reconstruct, requestIdOf } from '@icp-sdk/core/agent';
import { lebEncode } from '@icp-sdk/core/candid';

const bls = bls12_381.shortSignatures, key = new Uint8Array(32).fill(1);
const derPrefix = Buffer.from('308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100', 'hex');
/** The public key of the network. */
export const rootKey = Uint8Array.from([...derPrefix, ...bls.getPublicKey(key).toBytes()]);
const bytes = (text) => new TextEncoder().encode(text);
const label = (name, tree) => [2, typeof name === 'string' ? bytes(name) : name, tree], leaf = (value) => [3, value];
const fork = (...trees) => trees.reduceRight((right, left) => [1, left, right]);

/** The outcome of a call that was replied to, or rejected, in the state tree. */
export const replied = (arg) => fork(label('reply', leaf(Uint8Array.from(arg))), label('status', leaf(bytes('replied'))));
export const rejected = (text, code = 'IC0503') => fork(label('error_code', leaf(bytes(code))), label('reject_code', leaf(new Uint8Array([5]))),
  label('reject_message', leaf(bytes(text))), label('status', leaf(bytes('rejected'))));

/** A certificate of the outcome of a call. */
export const certify = async (requestId, outcome) => {
  const tree = fork(label('request_status', label(requestId, outcome)), label('time', leaf(lebEncode(BigInt(Date.now()) * 1000000n))));
  const message = Uint8Array.from([...IC_STATE_ROOT_DOMAIN_SEPARATOR, ...await reconstruct(tree)]);
  return Cbor.encode({ tree, signature: bls.Signature.toBytes(bls.sign(bls.hash(message), key)) });
};

/**
 * An agent of a network on which `execute` answers every call: with the bytes of the reply, or with an Error, whose message is
 * what the canister traps with.
 */
export const agentOf = (execute) => {
  const fetch = async (url, { body }) => {
    const { content } = Cbor.decode(body);
    const said = await Promise.resolve(content).then(execute).catch((error) => error);
    const ok = !(said instanceof Error);
    if (content.request_type === 'query') {
      const outcome = ok ? { status: 'replied', reply: { arg: said } }
        : { status: 'rejected', reject_code: 5, reject_message: said.message, error_code: 'IC0503' };
      return new Response(Cbor.encode(outcome), { status: 200 });
    }
    const certificate = await certify(requestIdOf(content), ok ? replied(said) : rejected(said.message));
    return new Response(Cbor.encode({ status: 'replied', certificate }), { status: 200 });
  };
  return HttpAgent.createSync({ host: 'https://network.example', fetch, rootKey, verifyQuerySignatures: false });
};

/** `done`, or the text with which the canister refused. */
export const outcome = (promise, done = 'done') =>
  promise.then(() => done, (error) => error.message.match(/Reject text: (.*)/)?.[1] ?? error.message);
