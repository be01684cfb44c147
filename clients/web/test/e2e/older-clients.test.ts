// Clients that are generated from the interface of each build, and from one released earlier, call every function on
// their own build and on the newer ones, on a live network.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Actor, type ActorSubclass } from '@icp-sdk/core/agent';
import { idlFactory as released } from '../declarations/2026-11-24.did.js';
import { idlFactory as direct } from '../declarations/direct.did.js';
import { idlFactory as legacy } from '../declarations/legacy.did.js';
import { idlFactory as staged } from '../declarations/staged.did.js';
import { functionsOf } from '../support/network.js';
import { specimen } from '../support/specimens.js';
import { startNetwork } from './live-network.js';
import { lacking, needs } from './needs.js';
import { type Build, Operator } from './operator.js';

const skip = lacking('binary', 'modules');
const BUILDS: Build[] = ['legacy', 'staged', 'direct'];
const CLIENTS = { '2026-11-24': released, legacy, staged, direct };
type Client = keyof typeof CLIENTS;
/** Gateways define the reply of this function: without an error case, so the canister rejects an unknown token. */
const FOR_GATEWAYS = 'http_request_streaming_callback';

/**
 * Calls each function that a client knows. Returns the functions whose replies the client cannot read, and the number
 * of `Ok` replies.
 */
async function callAll(operator: Operator, client: Client): Promise<{ wrong: string[]; ok: number }> {
  const { agent, canisterId } = operator;
  const actor = Actor.createActor<Record<string, never>>(CLIENTS[client], { agent, canisterId });
  const methods = actor as unknown as ActorSubclass<Record<string, (...args: unknown[]) => Promise<unknown>>>;
  const wrong: string[] = [];
  let ok = 0;
  for (const [method, { argTypes }] of functionsOf(CLIENTS[client])) {
    try {
      // With empty texts, absent options and zeros, most calls are refused; the client must understand the errors.
      const reply = await methods[method]!(...argTypes.map((type) => specimen(type, 0)));
      ok += typeof reply === 'object' && reply !== null && 'Ok' in reply ? 1 : 0;
    } catch (error) {
      if (method === FOR_GATEWAYS && String(error).includes('IC0406')) continue;
      wrong.push(`${method}: ${String(error)}`);
    }
  }
  return { wrong, ok };
}

test('older clients call every function of newer builds', { skip, timeout: 400_000 }, async (t) => {
  const network = await startNetwork(needs.binary);
  t.after(() => network.stop());
  const operator = await Operator.install(network, needs.modules);
  for (const [age, build] of BUILDS.entries()) {
    if (age > 0) {
      await operator.upgrade(build);
      await operator.waitFor('Converted');
    }
    for (const client of ['2026-11-24', ...BUILDS.slice(0, age + 1)] as Client[]) {
      const { wrong, ok } = await callAll(operator, client);
      t.diagnostic(`${client} on ${build}: ${functionsOf(CLIENTS[client]).length} functions, ${ok} with Ok`);
      assert.deepEqual(wrong, [], `${client} on ${build}`);
    }
  }
});
