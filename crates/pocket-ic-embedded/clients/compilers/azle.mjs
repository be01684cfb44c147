// Cases in TypeScript, built with the published azle from its published template, and a check that the server accepts
// the templates.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createIdentity } from '@dfinity/pic';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { runCases } from './cases.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
// The templates are complete modules even before azle adds a program and its methods.
const template = name => readFileSync(`${here}/node_modules/azle/dist/canister_templates/${name}.wasm`);

const built = name => {
  execFileSync(`${here}/node_modules/.bin/azle`, ['build', name], {
    cwd: here,
    env: { ...process.env, CANISTER_CANDID_PATH: `${here}/.azle/${name}.did` },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return readFileSync(`${here}/.azle/${name}/${name}.wasm`);
};

const { Bool, Int, Nat, Nat32, Nat64, Null, Opt, Text, Tuple, Vec } = IDL;
const Blob = Vec(IDL.Nat8);
const QUERY = ['query'];
const nat32 = [Nat32];
const texts = [Text];
const greeting = words => IDL.encode(texts, [words]);
const someone = createIdentity('someone');
const management = Principal.managementCanister();
const Tree = IDL.Rec();
Tree.fill(IDL.Variant({ leaf: Int, node: Vec(Tree) }));
const Everything = IDL.Record({
  nat: Nat,
  int: Int,
  nat64: Nat64,
  int8: IDL.Int8,
  float: IDL.Float64,
  text: Text,
  blob: Blob,
  principal: IDL.Principal,
  option: Opt(Opt(Bool)),
  none: Null,
  tree: Tree,
  func: IDL.Func(texts, texts, QUERY),
});
const Outcome = Tuple(Text, Nat32, Text);
const CallArguments = [IDL.Principal, Text];

// Takes a snapshot, and returns a function that loads it.
const snapshotOf = async ({ pic, canisterId }) => {
  const Canister = IDL.Record({ canister_id: IDL.Principal });
  const place = { canister_id: canisterId };
  const manage = (method, type, value) =>
    pic.updateCall({ canisterId: management, method, arg: IDL.encode([type], [value]), targetSubnetId: undefined });
  const [{ id }] = IDL.decode([IDL.Record({ id: Blob })], await manage('take_canister_snapshot', Canister, place));
  const Load = IDL.Record({ canister_id: IDL.Principal, snapshot_id: Blob });
  return () => manage('load_canister_snapshot', Load, { ...place, snapshot_id: id });
};

// Requests the canister's page from the gateway, at the raw address, where nothing is verified.
const page = (port, canisterId, method, path, body) =>
  new Promise((resolve, reject) => {
    const headers = { host: `${canisterId.toText()}.raw.localhost:${port}` };
    const asked = request({ host: '127.0.0.1', port, method, path, headers }, async response => {
      resolve([response.statusCode, response.headers['content-type'], await text(response)]);
    });
    asked.on('error', reject).end(body);
  });

// The cases by the names of their modules. `runCases` describes what each consists of.
const cases = {
  state: [
    {
      visit: [[], nat32],
      tryVisit: [[], nat32, QUERY],
      state: [[], [Tuple(Text, Nat32)], QUERY],
      note: [[Text, Text], [Opt(Text)]],
      noteAndThrow: [[Text, Text], []],
      noteLength: [[Text, Nat32], []],
      lengthOf: [texts, [Opt(Nat32)], QUERY],
      all: [[], [Vec(Tuple(Text, Text))], QUERY],
      forget: [texts, [Bool]],
      loop: [[], []],
    },
    async context => {
      const { actor, pic, canisterId, wasm } = context;
      assert.deepEqual(await actor.state(), ['hello', 0]);
      assert.equal(await actor.visit(), 1);
      assert.equal(await actor.tryVisit(), 2);
      assert.deepEqual(await actor.state(), ['hello', 1]);

      assert.deepEqual(await actor.note('b', 'second'), []);
      assert.deepEqual(await actor.note('a', 'first'), []);
      assert.deepEqual(await actor.note('b', 'next'), ['second']);
      await assert.rejects(actor.noteAndThrow('c', 'third'), /Uncaught Error: not so[^]*CanisterCalledTrap/);
      await assert.rejects(actor.loop(), /CanisterInstructionLimitExceeded/);
      const notes = [
        ['a', 'first'],
        ['b', 'next'],
      ];
      assert.deepEqual(await actor.all(), notes);
      assert.deepEqual(await actor.state(), ['hello', 1]);

      await pic.upgradeCanister({ canisterId, wasm, arg: greeting('hello again') });
      assert.deepEqual(await actor.state(), ['hello again', 1]);
      assert.deepEqual(await actor.all(), notes);
      assert.equal(await actor.forget('a'), true);
      assert.equal(await actor.forget('a'), false);
      await actor.noteLength('long', 10_000);
      assert.deepEqual(await actor.lengthOf('long'), [10_000]);

      const load = await snapshotOf(context);
      await actor.visit();
      await actor.forget('long');
      await load();
      assert.deepEqual(await actor.state(), ['hello again', 1]);
      assert.deepEqual(await actor.lengthOf('long'), [10_000]);

      await pic.reinstallCode({ canisterId, wasm, arg: greeting('from scratch') });
      assert.deepEqual(await actor.state(), ['from scratch', 0]);
      assert.deepEqual(await actor.all(), []);
    },
    greeting('hello'),
  ],
  calls: [
    {
      echo: [texts, texts, QUERY],
      record: [[], [Tuple(Vec(Text), Nat32)], QUERY],
      whoCalls: [[IDL.Principal], [IDL.Principal]],
      together: [[IDL.Principal, Vec(Text)], [Vec(Text)]],
      through: [CallArguments, texts, ['composite_query']],
      oneWay: [CallArguments, []],
      pay: [[IDL.Principal, Nat, Nat], [Tuple(Nat, Nat, Nat)]],
      fails: [CallArguments, [Outcome]],
      payTooMuch: [[IDL.Principal], []],
      cleansUp: [[IDL.Principal, Bool], []],
      randomLength: [[], nat32],
      running: [[], texts],
    },
    async ({ actor, pic, canisterId, idl, wasm }) => {
      const other = await pic.createCanister();
      await pic.installCode({ canisterId: other, wasm });
      const peer = pic.createActor(idl, other);
      assert.equal((await actor.whoCalls(other)).toText(), canisterId.toText());
      assert.equal((await actor.whoCalls(canisterId)).toText(), canisterId.toText());
      const many = Array.from({ length: 20 }, (_, index) => `text ${index}`);
      assert.deepEqual(await actor.together(other, many), many);
      assert.equal(await actor.through(other, 'by query'), 'by query');
      assert.equal(await actor.through(canisterId, 'of its own'), 'of its own');
      await actor.oneWay(other, 'told');
      await pic.tick(2);
      assert.deepEqual(await peer.record(), [['told'], 0]);

      const balances = async () => [await pic.getCyclesBalance(canisterId), await pic.getCyclesBalance(other)].map(BigInt);
      const [mine, theirs] = await balances();
      assert.deepEqual(await actor.pay(other, 1_000n, 300n), [1_000n, 300n, 700n]);
      assert.deepEqual(await actor.pay(other, 1_000n, 2_000n), [1_000n, 1_000n, 0n]);
      assert.deepEqual(await balances(), [mine - 1_300n, theirs + 1_300n]);

      const from = `Error from Canister ${other.toText()}: `;
      assert.deepEqual(await actor.fails(other, 'reject'), ['CallRejected', 4, 'not today']);
      const [kind, code, message] = await actor.fails(other, 'trapped');
      assert.deepEqual([kind, code], ['CallRejected', 5]);
      assert.ok(message.startsWith(`IC0503: ${from}`) && message.includes('out of luck'), message);
      const [, , missing] = await actor.fails(other, 'brew');
      assert.ok(missing.startsWith(`IC0536: ${from}Canister has no update method 'brew'`), missing);
      const nowhere = Principal.fromText('g3wsl-eqaaa-aaaan-aaaaa-cai');
      assert.deepEqual(await actor.fails(nowhere, 'brew'), [
        'CallRejected',
        3,
        'No route to canister g3wsl-eqaaa-aaaan-aaaaa-cai',
      ]);
      await assert.rejects(actor.payTooMuch(other), /insufficient liquid cycles[^]*CanisterCalledTrap/);
      const onlyFirstFails = error => /after the answer/.test(error) && !/call_on_cleanup/.test(error);
      await assert.rejects(actor.cleansUp(other, false), onlyFirstFails);
      assert.deepEqual(await actor.record(), [[], 1]);
      await assert.rejects(actor.cleansUp(other, true), /after the answer[^]*call_on_cleanup also failed:[^]*reply/);
      assert.deepEqual(await actor.record(), [[], 1]);

      await pic.stopCanister({ canisterId: other });
      const [stoppedKind, stoppedCode] = await actor.fails(other, 'caller');
      assert.deepEqual([stoppedKind, stoppedCode], ['CallRejected', 5]);
      assert.equal(await actor.randomLength(), 32);
      await pic.updateCanisterSettings({ canisterId, controllers: [Principal.anonymous(), canisterId] });
      assert.equal(await actor.running(), 'running');
    },
  ],
  time: [
    {
      rung: [[], [Tuple(Nat32, Vec(Text))], QUERY],
      now: [[], [Nat64], QUERY],
      after: [[Nat32, Text], []],
      setAndTrap: [[Nat32, Text], []],
      trapAfter: [nat32, []],
      every: [[Nat32, Text], []],
      stop: [[], []],
    },
    async ({ actor, pic, canisterId, wasm }) => {
      const seconds = async count => {
        await pic.advanceTime(count * 1_000);
        await pic.tick(2);
      };
      const rings = async () => (await actor.rung())[1];
      const [before] = await actor.rung();
      await pic.tick(3);
      assert.equal((await actor.rung())[0], before + 3);

      const start = await actor.now();
      await pic.advanceTime(1_500);
      await pic.tick();
      assert.ok((await actor.now()) - start >= 1_500_000_000n);

      await actor.after(20, 'late');
      await actor.after(10, 'early');
      await assert.rejects(actor.setAndTrap(10, 'never'), /CanisterCalledTrap/);
      await actor.trapAfter(10);
      await seconds(9);
      assert.deepEqual(await rings(), []);
      await seconds(2);
      assert.deepEqual(await rings(), ['early']);
      await seconds(10);
      assert.deepEqual(await rings(), ['early', 'late']);

      await actor.every(5, 'again');
      for (let turn = 0; turn < 3; turn += 1) await seconds(5);
      const again = ['early', 'late', 'again', 'again', 'again'];
      assert.deepEqual(await rings(), again);
      await actor.stop();
      await seconds(5);
      assert.deepEqual(await rings(), again);

      await actor.after(5, 'lost');
      await pic.upgradeCanister({ canisterId, wasm });
      await seconds(6);
      assert.deepEqual(await rings(), []);
    },
  ],
  messages: [
    {
      guarded: [[], texts],
      echo: [[Everything], [Everything], QUERY],
      queried: [[], [Tuple(IDL.Principal, IDL.Principal, Bool, Bool)], QUERY],
      updated: [[], [Tuple(IDL.Principal, Nat64, Bool)]],
      count: [nat32, [Nat64]],
      certify: [[Blob], []],
      certificate: [[], [Opt(Blob)], QUERY],
    },
    async ({ actor, pic, canisterId, idl, wasm }) => {
      assert.equal(await actor.guarded(), 'let in');
      const stranger = pic.createActor(idl, canisterId);
      stranger.setIdentity(someone);
      await assert.rejects(stranger.guarded(), /CanisterRejectedMessage/);

      const sender = someone.getPrincipal();
      const [caller, self, controls, replicated] = await stranger.queried();
      assert.deepEqual([caller, self].map(String), [sender, canisterId].map(String));
      assert.deepEqual([controls, replicated], [false, false]);
      assert.deepEqual((await actor.queried()).slice(2), [true, false]);
      const [updater, version, isReplicated] = await stranger.updated();
      assert.deepEqual([String(updater), isReplicated], [String(sender), true]);
      await pic.upgradeCanister({ canisterId, wasm });
      assert.ok((await actor.updated())[1] > version);

      const value = {
        nat: 2n ** 100n,
        int: -(2n ** 100n),
        nat64: 2n ** 64n - 1n,
        int8: -128,
        float: -0.1,
        text: 'Grüße, 世界',
        blob: Uint8Array.from({ length: 256 }, (_, byte) => byte),
        principal: sender,
        option: [[]],
        none: null,
        tree: { node: [{ leaf: 1n }, { node: [] }, { node: [{ leaf: -2n }] }] },
        func: [canisterId, 'echo'],
      };
      const encoded = IDL.encode([Everything], [value]);
      const answered = IDL.encode([Everything], [await actor.echo(value)]);
      assert.deepEqual(answered, encoded);

      const [few, many] = [await actor.count(1_000), await actor.count(100_000)];
      assert.ok(many > 50n * few && many < 200n * few, `${few}, ${many}`);

      await actor.certify(Uint8Array.of(1, 2, 3));
      const [certificate] = await actor.certificate();
      assert.ok(Buffer.from(certificate).includes(Buffer.of(1, 2, 3)));
      await assert.rejects(actor.certify(new Uint8Array(33)), /CanisterContractViolation/);
    },
  ],
  pages: [
    {},
    async ({ pic, canisterId }) => {
      const port = await pic.makeLive();
      assert.deepEqual(await page(port, canisterId, 'GET', '/a?b=c'), [200, 'text/plain', '/a?b=c: ']);
      assert.deepEqual(await page(port, canisterId, 'POST', '/', 'one'), [201, 'text/plain', 'one']);
      assert.deepEqual(await page(port, canisterId, 'POST', '/', ', two'), [201, 'text/plain', 'one, two']);
      assert.deepEqual(await page(port, canisterId, 'GET', '/'), [200, 'text/plain', '/: one, two']);
      await pic.stopLive();
    },
  ],
};

const accepted = async ({ pic, canisterId }) => {
  const { moduleHash } = await pic.canisterStatus({ canisterId });
  assert.equal(moduleHash?.length, 32);
};

const entry = name => [name, { type: 'azle', main: `cases/azle/${name}.ts` }];
writeFileSync(`${here}/dfx.json`, JSON.stringify({ canisters: Object.fromEntries(Object.keys(cases).map(entry)) }));
await runCases('azle, our cases', cases, built);
await runCases("azle's templates", { stable: [{}, accepted], experimental: [{}, accepted] }, template);
