// The published JavaScript agent on the network: every kind of request, with certificates and signatures verified.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Certificate, CanisterStatus, HttpAgent, polling } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { DelegationChain, DelegationIdentity, Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Secp256k1KeyIdentity } from '@icp-sdk/core/identity/secp256k1';
import { Principal } from '@icp-sdk/core/principal';

const counter = new Uint8Array(readFileSync(process.env.COUNTER_WASM));
const management = Principal.managementCanister();
const number = bytes => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
const hex = bytes => Buffer.from(bytes).toString('hex');
const nothing = new Uint8Array();

const Create = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
const Created = IDL.Record({ canister_id: IDL.Principal });
const Install = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});

/** Creates a canister with the counter, using only an agent. */
export async function createCounter(agent, effectiveCanisterId) {
  const created = await agent.update(management, {
    methodName: 'provisional_create_canister_with_cycles',
    arg: IDL.encode([Create], [{ amount: [] }]),
    effectiveCanisterId,
  });
  const [{ canister_id: id }] = IDL.decode([Created], created.reply);
  await agent.update(management, {
    methodName: 'install_code',
    arg: IDL.encode([Install], [{ mode: { install: null }, canister_id: id, wasm_module: counter, arg: nothing }]),
    effectiveCanisterId: id,
  });
  return id;
}

export async function agentTests(network, test) {
  const host = network.url;
  const identity = Ed25519KeyIdentity.generate();
  const rootKey = new Uint8Array(Buffer.from(network.rootKey, 'hex'));
  const agentOf = (who, options = {}) => HttpAgent.create({ host, identity: who, rootKey, ...options });
  const agent = await agentOf(identity);
  const id = await createCounter(agent, Principal.fromText(network.effectiveId));
  const update = (who, methodName, arg = nothing) =>
    who.update(id, { methodName, arg, effectiveCanisterId: id });
  const query = async (who, methodName) => {
    const answer = await who.query(id, { methodName, arg: nothing });
    assert.equal(answer.status, 'replied', answer.reject_message);
    return answer.reply.arg;
  };

  await test('the printed root key is the fetched one', async () => {
    const fetched = await HttpAgent.create({ host, shouldFetchRootKey: true });
    assert.equal(hex(fetched.rootKey), network.rootKey);
  });

  await test('updates are certified and queries are signed', async () => {
    assert.equal(number((await update(agent, 'inc')).reply), 1);
    assert.equal(number(await query(agent, 'read')), 1);
    assert.equal(Principal.fromUint8Array(await query(agent, 'caller')).toText(), identity.getPrincipal().toText());
  });

  await test('an asynchronous call is polled for', async () => {
    const { requestId, response } = await agent.call(id, {
      methodName: 'inc',
      arg: nothing,
      effectiveCanisterId: id,
      callSync: false,
    });
    assert.equal(response.status, 202);
    const { reply } = await polling.pollForResponse(agent, id, requestId);
    assert.equal(number(reply), 2);
  });

  await test('a delegated identity acts as the delegating one', async () => {
    const session = Ed25519KeyIdentity.generate();
    const soon = new Date(Date.now() + 600_000);
    const chain = await DelegationChain.create(identity, session.getPublicKey(), soon, { targets: [id] });
    const delegated = await agentOf(DelegationIdentity.fromDelegation(session, chain));
    const caller = Principal.fromUint8Array(await query(delegated, 'caller'));
    assert.equal(caller.toText(), identity.getPrincipal().toText());
    assert.equal(number((await update(delegated, 'inc')).reply), 3);
    const elsewhere = await DelegationChain.create(identity, session.getPublicKey(), soon, {
      targets: [Principal.fromText('aaaaa-aa')],
    });
    const refused = await agentOf(DelegationIdentity.fromDelegation(session, elsewhere), { retryTimes: 0 });
    await assert.rejects(update(refused, 'inc'), /not one of the delegation targets/);
  });

  await test('secp256k1 signatures are accepted, too', async () => {
    const other = Secp256k1KeyIdentity.generate();
    const caller = Principal.fromUint8Array(await query(await agentOf(other), 'caller'));
    assert.equal(caller.toText(), other.getPrincipal().toText());
  });

  await test('the status of a canister is read', async () => {
    const status = await CanisterStatus.request({
      agent,
      canisterId: id,
      paths: ['time', 'controllers', 'module_hash', 'subnet', 'candid'],
    });
    assert.equal(status.get('controllers')[0].toText(), identity.getPrincipal().toText());
    assert.equal(status.get('module_hash').length, 64);
    assert.ok(Math.abs(Date.now() - status.get('time').getTime()) < 60_000);
    assert.ok(status.get('subnet').nodeKeys.size > 0);
    assert.ok(status.get('candid') === null || status.get('candid') === undefined);
  });

  await test('rejections say why', async () => {
    await assert.rejects(update(agent, 'trap_after_inc'), /something went wrong/);
    await assert.rejects(update(agent, 'missing'), /IC0536/);
    const answer = await agent.query(id, { methodName: 'missing', arg: nothing });
    assert.equal(answer.error_code, 'IC0536');
  });

  await test('certificates verify with the root key and with no other', async () => {
    const { certificate } = await agent.readState(
      { canisterId: id },
      { paths: [[new TextEncoder().encode('time')]] },
    );
    const principal = { canisterId: id };
    await Certificate.create({ certificate, rootKey, principal });
    const other = rootKey.slice();
    other[other.length - 1] ^= 1;
    await assert.rejects(Certificate.create({ certificate, rootKey: other, principal }));
    const flipped = certificate.slice();
    flipped[flipped.length - 10] ^= 1;
    await assert.rejects(Certificate.create({ certificate: flipped, rootKey, principal }));
    await assert.rejects(
      Certificate.create({ certificate, rootKey, principal: { canisterId: Principal.fromText('ryjl3-tyaaa-aaaaa-aaaba-cai') } }),
    );
  });
}
