// A tour of the embedded server with the npm client: install, calls, time, upgrade, stable memory, snapshots, traps.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createIdentity, PocketIc, PocketIcServer, SubnetStateType } from '@dfinity/pic';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';

const counter = new Uint8Array(readFileSync(process.env.COUNTER_WASM));
const someone = createIdentity('someone').getPrincipal();
const management = Principal.managementCanister();

const texts = principals => principals.map(principal => principal.toText());
const number = bytes => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
const long = bytes => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
const longBytes = value => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
};

// Each test gets an instance of its own with the counter on it.
const tests = {
  async 'calls change, queries do not'({ pic, canisterId, update, query }) {
    assert.equal(number(await update('inc')), 1);
    assert.equal(number(await query('inc_query')), 2);
    assert.equal(number(await query('read')), 1);
    const caller = await pic.queryCall({ canisterId, method: 'caller', sender: someone });
    assert.equal(Principal.fromUint8Array(caller).toText(), someone.toText());
    const bytes = Uint8Array.of(0, 255, 7);
    assert.deepEqual(new Uint8Array(await update('echo', bytes)), bytes);
  },

  async 'cycles, controllers and subnets'({ pic, canisterId }) {
    const before = await pic.getCyclesBalance(canisterId);
    const added = typeof before === 'bigint' ? 5n : 5;
    assert.equal(await pic.addCycles(canisterId, 5), before + added);
    assert.deepEqual(texts(await pic.getControllers(canisterId)), ['2vxsx-fae']);
    const [subnet] = await pic.getApplicationSubnets();
    assert.deepEqual(texts([await pic.getCanisterSubnetId(canisterId)]), texts([subnet.id]));
    const large = 10n ** 30n;
    const rich = await pic.createCanister({ cycles: large, controllers: [someone] });
    assert.deepEqual(texts(await pic.getControllers(rich)), texts([someone]));
    const status = await pic.canisterStatus({ canisterId: rich, sender: someone });
    assert.equal(status.cycles, large);
  },

  async 'time and timers'({ pic, update, query }) {
    const start = await pic.getTime();
    const due = BigInt(Math.round(start)) * 1_000_000n + 10_000_000_000n;
    await update('set_timer', longBytes(due));
    await pic.tick();
    assert.equal(number(await query('read')), 0);
    await pic.advanceTime(20_000);
    await pic.tick();
    assert.equal(number(await query('read')), 100);
    const wanted = new Date('2030-01-02T03:04:05Z');
    await pic.setCertifiedTime(wanted);
    assert.equal(long(await query('now')), BigInt(wanted.getTime()) * 1_000_000n);
    await assert.rejects(pic.setTime(new Date(start)), /SettingTimeIntoPast/);
  },

  async 'an upgrade keeps stable memory only'({ pic, canisterId, update, query }) {
    await update('inc');
    await update('stable_inc');
    await pic.upgradeCanister({ canisterId, wasm: counter });
    assert.equal(number(await query('read')), 0);
    assert.equal(number(await query('stable_read')), 1);
    await pic.reinstallCode({ canisterId, wasm: counter, arg: Uint8Array.of(9, 0, 0, 0) });
    assert.equal(number(await query('read')), 9);
    assert.equal(number(await query('stable_read')), 0);
    await assert.rejects(pic.installCode({ canisterId, wasm: counter }), /not empty/);
    await assert.rejects(
      pic.upgradeCanister({ canisterId, wasm: Uint8Array.of(1, 2, 3) }),
      /Wasm module is not valid/,
    );
  },

  async 'stable memory from outside'({ pic, canisterId, update }) {
    await pic.setStableMemory(canisterId, Uint8Array.of(41, 0, 0, 0));
    assert.equal(number(await update('stable_inc')), 42);
    const memory = await pic.getStableMemory(canisterId);
    assert.equal(memory.byteLength, 65_536);
    assert.equal(number(new Uint8Array(memory)), 42);
  },

  async 'a snapshot restores the state'({ canisterId, update, query, manage }) {
    await update('inc');
    await update('stable_inc');
    const Snapshot = IDL.Record({ id: IDL.Vec(IDL.Nat8), total_size: IDL.Nat64 });
    const Canister = IDL.Record({ canister_id: IDL.Principal });
    const taken = await manage('take_canister_snapshot', Canister, { canister_id: canisterId });
    const [{ id }] = IDL.decode([Snapshot], taken);
    for (const method of ['inc', 'inc', 'stable_inc']) await update(method);
    const Load = IDL.Record({ canister_id: IDL.Principal, snapshot_id: IDL.Vec(IDL.Nat8) });
    const place = { canister_id: canisterId, snapshot_id: id };
    await manage('load_canister_snapshot', Load, place);
    assert.equal(number(await query('read')), 1);
    assert.equal(number(await query('stable_read')), 1);
    await manage('delete_canister_snapshot', Load, place);
    await assert.rejects(manage('load_canister_snapshot', Load, place), /Could not find the snapshot/);
  },

  async 'failures say what happened and change nothing'({ update, query }) {
    for (const [method, words] of [
      ['trap_after_inc', /Canister called `ic0.trap` with message: 'something went wrong'/],
      ['unreachable', /Canister trapped: unreachable/],
      ['no_reply', /did not reply/],
      ['reject', /not today/],
      ['missing', /Canister has no update method 'missing'/],
    ]) {
      await assert.rejects(update(method), words, method);
    }
    assert.equal(number(await query('read')), 0);
  },

  async 'stopping, starting, settings'({ pic, canisterId, update }) {
    await pic.stopCanister({ canisterId });
    await assert.rejects(update('inc'), /is stopped/);
    await pic.startCanister({ canisterId });
    assert.equal(number(await update('inc')), 1);
    await pic.updateCanisterSettings({ canisterId, controllers: [someone] });
    await assert.rejects(pic.stopCanister({ canisterId }), /Only the controllers/);
    await pic.stopCanister({ canisterId, sender: someone });
  },

  async 'typed actors, now and deferred'({ pic, canisterId }) {
    const Echo = ({ IDL: idl }) => idl.Service({ echo: idl.Func([idl.Text], [idl.Text], []) });
    const actor = pic.createActor(Echo, canisterId);
    assert.equal(await actor.echo('one'), 'one');
    const deferred = pic.createDeferredActor(Echo, canisterId);
    const second = await deferred.echo('two');
    const third = await deferred.echo('three');
    assert.equal(await third(), 'three');
    assert.equal(await second(), 'two');
  },

  async 'time advances by itself'({ pic, canisterId, update, query }) {
    await update('set_timer', longBytes(1n));
    await pic.client.autoProgress();
    for (let tries = 0; number(await query('read')) === 0; tries++) assert.ok(tries < 10_000);
    assert.equal(number(await query('read')), 100);
    await pic.client.stopProgress();
  },

  async 'a large module is installed in pieces'({ pic, canisterId, update }) {
    // A custom section of incompressible bytes after the module: name "filler", then 3 MB.
    const filler = new Uint8Array(3_000_000).map((_, n) => (n * 2_654_435_761) >>> 24);
    const leb = n => (n < 128 ? [n] : [(n % 128) | 128, ...leb(Math.floor(n / 128))]);
    const name = [6, ...new TextEncoder().encode('filler')];
    const section = [0, ...leb(name.length + filler.length), ...name];
    const wasm = new Uint8Array([...counter, ...section, ...filler]);
    await pic.reinstallCode({ canisterId, wasm });
    assert.equal(number(await update('inc')), 1);
  },

  async 'a live instance has a gateway and a key'({ pic }) {
    const [subnet] = await pic.getApplicationSubnets();
    const key = await pic.getPubKey(subnet.id);
    assert.equal(key.length, 133);
    const port = await pic.makeLive();
    const answer = await fetch(`http://localhost:${port}/api/v2/status`);
    assert.equal(answer.status, 200);
    await pic.stopLive();
  },
};

const server = await PocketIcServer.start();
let passed = 0;
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  const pic = await PocketIc.create(server.getUrl(), {
    application: [{ state: { type: SubnetStateType.New } }],
  });
  try {
    const canisterId = await pic.createCanister();
    await pic.installCode({ canisterId, wasm: counter });
    await test({
      pic,
      canisterId,
      update: (method, arg) => pic.updateCall({ canisterId, method, arg }),
      query: (method, arg) => pic.queryCall({ canisterId, method, arg }),
      manage: (method, type, value) =>
        pic.updateCall({ canisterId: management, method, arg: IDL.encode([type], [value]) }),
    });
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  } finally {
    await pic.tearDown();
  }
}
await server.stop();
console.log(`npm client, our tour: ${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
