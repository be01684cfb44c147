// Cases in Motoko, compiled with the published compiler.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import motoko from 'motoko';
import { runCases } from './cases.mjs';

const compiled = name => {
  motoko.write(`${name}.mo`, readFileSync(new URL(`cases/motoko/${name}.mo`, import.meta.url), 'utf8'));
  return new Uint8Array(motoko.wasm(`${name}.mo`, 'ic').wasm);
};

const pair = [IDL.Text, IDL.Text];
const nat = [IDL.Nat];

// The cases by the names of their modules. `runCases` describes what each consists of.
const cases = {
  management: [
    { history: [[], [IDL.Vec(IDL.Text)]], minimum: [[], nat], random: [[], [IDL.Bool]] },
    async ({ actor, pic, canisterId }) => {
      assert.deepEqual(await actor.history(), ['creation', 'deployment']);
      await pic.updateCanisterSettings({ canisterId, controllers: [Principal.anonymous(), canisterId] });
      assert.deepEqual(await actor.history(), ['creation', 'deployment', 'controllers']);
      assert.equal(await actor.minimum(), 0n);
      assert.equal(await actor.random(), true);
    },
  ],
  errors: [
    {
      trapped: [[], pair],
      refused: [[], pair],
      missing: [[], pair],
      nowhere: [[], pair],
      finally_: [[IDL.Bool], []],
    },
    async ({ actor, canisterId }) => {
      const [code, text] = await actor.trapped();
      assert.equal(code, 'canister_error');
      const start = `IC0503: Error from Canister ${canisterId.toText()}: Canister called \`ic0.trap\` with message: '`;
      assert.ok(text.startsWith(start) && text.includes('out of luck'), text);
      assert.deepEqual(await actor.refused(), ['canister_reject', 'not today']);
      const [, missing] = await actor.missing();
      assert.match(missing, /^IC0536: Error from Canister .* Canister has no update method 'brew'/);
      const nowhere = 'No route to canister g3wsl-eqaaa-aaaan-aaaaa-cai';
      assert.deepEqual(await actor.nowhere(), ['destination_invalid', nowhere]);
      const onlyFirstFails = error => /first/.test(error) && !/call_on_cleanup/.test(error);
      await assert.rejects(actor.finally_(false), onlyFirstFails);
      await assert.rejects(actor.finally_(true), /first[^]*call_on_cleanup also failed:[^]*second/);
    },
  ],
  rounds: [
    { counts: [[], [IDL.Nat, IDL.Nat, IDL.Nat], ['query']], spin: [[], []] },
    async ({ actor, deferred, pic }) => {
      await deferred.spin();
      await pic.tick();
      const [beats, turns, timers] = await actor.counts();
      assert.ok(turns > 100n, `${turns} turns`);
      await pic.advanceTime(2_000);
      await pic.tick(3);
      const [beatsAfter, turnsAfter, timersAfter] = await actor.counts();
      assert.equal(beatsAfter - beats, 3n);
      assert.equal(timersAfter - timers, 1n);
      assert.ok(turnsAfter > 2n * turns, `${turns}, then ${turnsAfter} turns`);
    },
  ],
  queries: [
    { set: [nat, []], twice: [[], nat, ['composite_query']], deep: [nat, nat, ['composite_query']] },
    async ({ actor }) => {
      await actor.set(21n);
      assert.equal(await actor.twice(), 42n);
      assert.equal(await actor.deep(5n), 21n);
      await assert.rejects(actor.deep(7n), /exceeded the maximum call depth/);
    },
  ],
  memory: [
    { add: [nat, nat], both: [[], [IDL.Vec(IDL.Nat), IDL.Nat], ['query']] },
    async ({ actor, pic, canisterId, wasm }) => {
      assert.equal(await actor.add(7n), 1n);
      const upgradeModeOptions = { skip_pre_upgrade: [], wasm_memory_persistence: [{ keep: null }] };
      await pic.upgradeCanister({ canisterId, wasm, upgradeModeOptions });
      assert.deepEqual(await actor.both(), [[7n], 0n]);
      await assert.rejects(pic.upgradeCanister({ canisterId, wasm }), /Missing upgrade option/);
      assert.deepEqual(await actor.both(), [[7n], 0n]);
    },
  ],
};

await runCases("Motoko's compiler, our cases", cases, compiled);
