// A network for an HttpAgent, which signs certificates with its own key.
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { Cbor, HttpAgent, reconstruct, requestIdOf } from '@icp-sdk/core/agent';
import { lebEncode } from '@icp-sdk/core/candid';

const bls = bls12_381.shortSignatures, key = new Uint8Array(32).fill(1);
const derPrefix = Buffer.from('308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100', 'hex');
// The public key of the network.
export const rootKey = Uint8Array.from([...derPrefix, ...bls.getPublicKey(key).toBytes()]);
const bytes = (text) => new TextEncoder().encode(text);
export const label = (name, tree) => [2, typeof name === 'string' ? bytes(name) : name, tree], leaf = (value) => [3, value];
export const fork = (...trees) => trees.reduceRight((right, left) => [1, left, right]);

// The outcome of a call that was replied to, or rejected, in the state tree.
const replied = (arg) => fork(label('reply', leaf(Uint8Array.from(arg))), label('status', leaf(bytes('replied'))));
const rejected = (text, code) => fork(label('error_code', leaf(bytes(code))), label('reject_code', leaf(new Uint8Array([5]))),
  label('reject_message', leaf(bytes(text))), label('status', leaf(bytes('rejected'))));

const codeOf = (error) => error.code ?? 'IC0503';

/** A certificate of a state tree, of which the time is added. */
export const certifyTree = async (part) => {
  const tree = fork(part, label('time', leaf(lebEncode(BigInt(Date.now()) * 1000000n))));
  const message = Uint8Array.from([...bytes('\x0Dic-state-root'), ...await reconstruct(tree)]);
  return Cbor.encode({ tree, signature: bls.Signature.toBytes(bls.sign(bls.hash(message), key)) });
};

/** A certificate of the answer to a call: the bytes of the reply, or an Error, as with `agentOf`. */
export const certify = async (content, said) => {
  const outcome = said instanceof Error ? rejected(said.message, codeOf(said)) : replied(said);
  return certifyTree(label('request_status', label(requestIdOf(content), outcome)));
};

/**
 * An agent of a network on which `execute` answers every call: with the bytes of the reply, or with an Error, which rejects it
 * with its message and its `code`; without one, with that of a trap.
 */
export const agentOf = (execute) =>
  HttpAgent.createSync({ host: 'https://network.example', fetch: fetchOf(execute), rootKey, verifyQuerySignatures: false });

/** The same network as a `fetch`, for packages that make their own agents. */
export const fetchOf = (execute) =>
  async (url, { body } = {}) => {
    if (!body) return new Response(Cbor.encode({ root_key: rootKey }), { status: 200 });
    const { content } = Cbor.decode(body);
    const said = await Promise.resolve(content).then(execute).catch((error) => error);
    if (content.request_type === 'query') {
      const outcome = said instanceof Error
        ? { status: 'rejected', reject_code: 5, reject_message: said.message, error_code: codeOf(said) }
        : { status: 'replied', reply: { arg: said } };
      return new Response(Cbor.encode(outcome), { status: 200 });
    }
    return new Response(Cbor.encode({ status: 'replied', certificate: await certify(content, said) }), { status: 200 });
  };

/** `done`, or the text with which the canister refused. */
export const outcome = (promise, done = 'done') =>
  promise.then(() => done, (error) => error.message.match(/Reject text: (.*)/)?.[1] ?? error.message);
